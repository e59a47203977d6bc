"""Importing this package fills ``registry.SCENARIOS``."""

from tests.interop.mqtt.scenarios import messages, retained, sessions, wills  # noqa: F401
from tests.interop.mqtt.scenarios.registry import SCENARIOS

__all__ = ["SCENARIOS"]
