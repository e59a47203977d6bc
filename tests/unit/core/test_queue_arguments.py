"""Arguments of queues, refused as RabbitMQ refuses them; the texts are also compared in tests/interop."""

import pytest

from edge.core.errors import PreconditionFailed
from edge.core.queue_arguments import check_consumer_arguments, check_queue_arguments
from edge.core.table import Int16, Int32


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"x-max-length": -1}, "invalid arg 'x-max-length' for queue 'q' in vhost '/': {value_negative,-1}"),
        ({"x-max-length": "5"}, '"expected integer, got longstr"'),
        ({"x-max-length-bytes": True}, '"expected integer, got bool"'),
        ({"x-message-ttl": 1 << 32}, "{value_too_large,4294967296}"),
        ({"x-expires": 0}, "{value_zero,0}"),
        ({"x-max-priority": 256}, "{max_value_exceeded,256}"),
        ({"x-overflow": "drop-tail"}, "invalid_overflow"),
        ({"x-overflow": Int32(1)}, "{unacceptable_type,signedint}"),
        ({"x-single-active-consumer": "true"}, "{unacceptable_type,longstr}"),
        ({"x-queue-mode": "eager"}, "\"unsupported queue mode 'eager'\""),
        ({"x-queue-version": 3}, "\"unsupported queue version '3'\""),
        ({"x-queue-type": "stream"}, "\"unsupported queue type 'stream'\""),
        ({"x-delivery-limit": 5}, "for queue 'q' in vhost '/' of queue type rabbit_classic_queue"),
        ({"x-queue-type": "quorum", "x-max-priority": 5}, "of queue type rabbit_quorum_queue"),
        ({"x-queue-type": "quorum", "x-delivery-limit": "5"}, '"expected integer, got longstr"'),
        (
            {"x-dead-letter-exchange": Int16(5)},
            "invalid type 'short' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'",
        ),
        ({"x-dead-letter-routing-key": "k"}, "routing_key_but_no_dlx_defined"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(PreconditionFailed) as error:
        check_queue_arguments("/", "q", arguments)
    assert reason in error.value.text


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({"durable": False}, "non-durable"),
        ({"auto_delete": True}, "auto-delete"),
        ({"exclusive": True}, "exclusive-owner"),
    ],
)
def test_a_quorum_queue_is_durable_and_of_nobody_alone(properties: dict[str, bool], text: str) -> None:
    with pytest.raises(PreconditionFailed, match=f"invalid property '{text}' for queue 'q' in vhost '/'"):
        check_queue_arguments("/", "q", {"x-queue-type": "quorum"}, **properties)


@pytest.mark.parametrize(
    "arguments",
    [
        {
            "x-max-length": 0,
            "x-max-length-bytes": 1,
            "x-overflow": "reject-publish-dlx",
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": "k",
            "x-message-ttl": 0,
            "x-expires": 1,
            "x-queue-mode": "lazy",
            "x-max-priority": 255,
            "x-single-active-consumer": True,
            "x-queue-master-locator": "min-masters",
            "x-unknown": None,
        },
        {"x-queue-type": "quorum", "x-delivery-limit": -1, "x-dead-letter-strategy": "at-least-once"},
    ],
)
def test_right_and_unknown_arguments_pass(arguments: dict[str, object]) -> None:
    check_queue_arguments("/", "q", arguments)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            {"x-priority": "5"},
            "invalid arg 'x-priority' for queue 'q' in vhost '/': \"expected integer, got longstr\"",
        ),
        ({"x-priority": True}, "got bool"),
        ({"x-cancel-on-ha-failover": "x"}, "{unacceptable_type,longstr}"),
        ({"x-consumer-timeout": -1}, "{value_negative,-1}"),
    ],
)
def test_a_wrong_argument_of_a_consumer_is_named(arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(PreconditionFailed) as error:
        check_consumer_arguments("/", "q", arguments)
    assert reason in error.value.text


def test_right_arguments_of_a_consumer_pass() -> None:
    check_consumer_arguments("/", "q", {"x-priority": -5, "x-consumer-timeout": 0, "x-unknown": "x"})
