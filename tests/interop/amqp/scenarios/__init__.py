"""Importing this package fills ``registry.SCENARIOS``."""

from tests.interop.amqp.scenarios import (  # noqa: F401
    connections,
    consuming,
    errors,
    exchanges,
    expiry,
    messages,
    publishing,
    queues,
)
from tests.interop.amqp.scenarios.registry import SCENARIOS

__all__ = ["SCENARIOS"]
