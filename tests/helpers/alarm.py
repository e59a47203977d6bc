"""The disk's alarm, by the test's word."""

import pytest

from edge.broker import Broker


class DiskAlarm:
    """Goes on and off as the test says, whatever the disk is like."""

    def __init__(self, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
        self._space = broker.store.space
        self._why = ""
        monkeypatch.setattr(self._space, "_shortage", lambda: self._why)

    def on(self) -> None:
        self._why = "the test says so"
        self._space.look()

    def off(self) -> None:
        self._why = ""
        self._space.look()

    @property
    def waiting(self) -> int:
        """How many wait for its end."""
        return len(self._space._waiting)
