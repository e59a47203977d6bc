"""The MQTT end of a shovel: reason codes, and what a server keeps without subscribers."""

import pytest

from edge.core.message import FORM_MQTT, PERSISTENT, RETAIN, Message
from mqtt import reasons as r
from shovel.mqtt import refusal_of
from tests.helpers.leveret import LeveretInProcess
from tests.unit.shovel.conftest import until
from tests.unit.shovel.test_supervisor import bodies, publish, row, shovel_toml


@pytest.fixture
async def base(tmp_path):
    async with LeveretInProcess(tmp_path / "base", name="base") as node:
        yield node


def to_base(base, **values):
    return shovel_toml(src_topic="fleet/#", dest_uri=f"mqtt://127.0.0.1:{base.ports.mqtt}", **values)


@pytest.mark.parametrize(
    ("reason", "of_message", "of_room", "of_route", "is_final"),
    [
        (r.NO_MATCHING_SUBSCRIBERS, False, False, True, False),
        (r.QUOTA_EXCEEDED, False, True, False, False),
        (r.PACKET_TOO_LARGE, True, False, False, True),
        (r.NOT_AUTHORIZED, True, False, False, False),
        (r.UNSPECIFIED_ERROR, False, False, False, False),
    ],
)
def test_a_reason_code_tells_what_kind_of_refusal_it_is(reason, of_message, of_room, of_route, is_final):
    refusal = refusal_of(reason)
    assert (refusal.of_message, refusal.of_room, refusal.of_route) == (of_message, of_room, of_route)
    assert refusal.is_final is is_final
    assert refusal.reason.startswith(f"0x{reason:02X} ")


async def test_a_retained_message_is_safe_without_a_subscriber(tmp_path, base):
    """The server keeps it for whoever subscribes later, though it answers 0x10."""
    async with LeveretInProcess(tmp_path / "edge", to_base(base)) as edge:
        broker = edge.node.broker
        retained = Message("amq.topic", "fleet.d1", b"", b"x", form=FORM_MQTT, flags=PERSISTENT | RETAIN)
        broker.publish(broker.vhost("/"), "amq.topic", [retained])
        await until(lambda: row(edge)["forwarded"] == 1)
        assert row(edge)["lag"] == 0


async def test_on_publish_sends_at_qos_0(tmp_path, base):
    there = base.node.broker
    there.declare_queue(there.vhost("/"), "arrived")
    there.bind(there.vhost("/"), "amq.topic", "arrived", "#")
    async with LeveretInProcess(tmp_path / "edge", to_base(base, ack_mode="on-publish")) as edge:
        publish(edge, range(100), "fleet.d1", "amq.topic")
        await until(lambda: len(bodies(base, "arrived")) == 100)
        assert there.vhost("/").queues["arrived"].ready[0][1].flags & PERSISTENT == 0


async def test_a_routing_key_that_is_no_topic_is_parked(tmp_path, base):
    there = base.node.broker
    there.declare_queue(there.vhost("/"), "arrived")
    there.bind(there.vhost("/"), "amq.topic", "arrived", "#")
    toml = shovel_toml(src_uri="amqp://", src_queue="q", dest_uri=f"mqtt://127.0.0.1:{base.ports.mqtt}")
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        here = edge.node.broker
        here.bind(here.vhost("/"), "amq.fanout", "q", "")
        publish(edge, ["bad"], "what#ever", "amq.fanout")
        publish(edge, ["good"], "fine", "amq.fanout")
        await until(lambda: row(edge)["parked"] == 1)
        await until(lambda: bodies(base, "arrived") == ["good"])
        assert bodies(edge, "q.parked") == ["bad"]


async def test_a_server_that_goes_away_is_told_and_tried_again(tmp_path):
    async with LeveretInProcess(tmp_path / "base", name="base") as base:
        toml = to_base(base, reconnect_delay=0.05)
        edge = LeveretInProcess(tmp_path / "edge", toml)
        await edge.start()
        await until(lambda: row(edge)["state"] == "running")
    await until(lambda: row(edge)["reconnects"] > 1)
    assert row(edge)["last_error"]
    await edge.stop()
