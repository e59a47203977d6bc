"""The only retry policies of the node, by tenacity."""

import logging
import random
import sqlite3
from collections.abc import Callable
from typing import Final

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    retry_if_exception_type,
    wait_exponential,
    wait_random_exponential,
)
from tenacity.stop import stop_never

from edge.core.errors import ConfigError

STORE_DELAY_MAX_S: Final = 5.0
"""A full or failing disk is tried again at least so often; nothing is confirmed meanwhile."""
LINK_DELAY_MAX_S: Final = 60.0
"""The longest pause between two attempts to reach a peer, unless the configured delay is longer."""
LINK_DELAY_MIN_S: Final = 0.1
"""The shortest, so that a link that breaks at once each time does not spin when the dice fall low."""

RECONNECT_DELAY_S: Final = 1.0
"""Between two attempts of a command to reach a broker it has lost, at first."""


def store_retry(logger: logging.Logger) -> AsyncRetrying:
    """Try a commit for ever: what was accepted is never dropped, and nobody is told that it is safe."""

    def report(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        logger.error("commit failed again (attempt %d): %s", state.attempt_number, error)

    return AsyncRetrying(
        retry=retry_if_exception_type((sqlite3.Error, OSError)),
        wait=wait_exponential(multiplier=0.1, max=STORE_DELAY_MAX_S),
        stop=stop_never,
        after=report,
        reraise=True,
    )


def link_wait(base_s: float) -> wait_random_exponential:
    """Full-jitter exponential backoff from ``base_s`` on: after an outage a fleet does not come back all at once."""
    longest = max(LINK_DELAY_MAX_S, base_s)
    return wait_random_exponential(multiplier=base_s, max=longest, min=min(LINK_DELAY_MIN_S, base_s))


def link_retry(base_s: float, on_failure: Callable[[RetryCallState], None]) -> AsyncRetrying:
    """Try to keep a link up for ever; only a configuration error is final.

    ``on_failure`` is told before each pause, with ``state.upcoming_sleep``. Whoever runs an attempt sets its
    ``retry_state.attempt_number`` back to 1 when it has got something across, so that the backoff begins anew.
    """
    return AsyncRetrying(
        retry=retry_if_exception(_is_passing),
        wait=link_wait(base_s),
        stop=stop_never,
        before_sleep=on_failure,
        reraise=True,
    )


def reconnect_retry(
    kind: type[BaseException], on_failure: Callable[[BaseException, float], None]
) -> AsyncRetrying:
    """Try for ever for a person who waits, as long as an attempt fails with ``kind``: from 1 s on, as mosquitto_sub.

    ``on_failure`` is told the error and the pause in seconds. An attempt that has connected sets its
    ``retry_state.attempt_number`` back to 1.
    """

    def report(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        assert error is not None
        on_failure(error, state.upcoming_sleep)

    return AsyncRetrying(
        retry=retry_if_exception_type(kind),
        wait=link_wait(RECONNECT_DELAY_S),
        stop=stop_never,
        before_sleep=report,
        reraise=True,
    )


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, Exception) and not isinstance(error, ConfigError)


def refusal_delay_s(rounds: int, base_s: float, longest_s: float) -> float:
    """Pause before what a destination has refused ``rounds`` times is offered again: doubles, half of it jitter."""
    full = min(longest_s, base_s * 2.0 ** min(rounds - 1, 16))
    return float(full * (0.5 + random.random() / 2))  # noqa: S311  # jitter, not a secret
