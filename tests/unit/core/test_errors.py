"""Errors that people and peers see."""

import pytest

from edge.core.errors import (
    AccessRefused,
    BrokerError,
    EdgeError,
    NotAllowed,
    NotFound,
    PreconditionFailed,
    ResourceLocked,
    StartupError,
    StoreError,
)


@pytest.mark.parametrize("kind", [NotFound, PreconditionFailed, AccessRefused, ResourceLocked, NotAllowed])
def test_what_a_client_can_be_refused_with_is_a_broker_error_with_a_text(kind: type[BrokerError]) -> None:
    error = kind("no queue 'x' in vhost '/'")
    assert isinstance(error, BrokerError)
    assert error.text == str(error) == "no queue 'x' in vhost '/'"


@pytest.mark.parametrize("kind", [StartupError, StoreError])
def test_what_stops_a_start_is_no_broker_error(kind: type[EdgeError]) -> None:
    assert not issubclass(kind, BrokerError)
