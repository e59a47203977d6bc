"""Topic permissions of MQTT clients (RabbitMQ, "Topic Authorisation"; `{client_id}` is the client's)."""

import pytest

from edge.auth.topics import TopicPermission
from edge.auth.users import Permission
from mqtt import constants as c
from mqtt import reasons as r
from mqtt.packets import AckRun, Will
from mqtt.properties import SESSION_EXPIRY_INTERVAL
from tests.helpers.mqtt_node import MqttNode

OWN = r"^dev\.{client_id}\."


@pytest.fixture(autouse=True)
def rule(node: MqttNode) -> None:
    """Everybody publishes and reads under their own topic."""
    node.broker.set_topic_permission(TopicPermission("guest", "/", "amq.topic", OWN, OWN))


async def test_a_filter_that_may_not_be_read_is_refused_in_its_place(node: MqttNode) -> None:
    """MQTT-3.9.3-2, and section 3.9.3 of MQTT 5: one reason code for each filter, in order."""
    v5 = await node.client("a", c.V5)
    assert await v5.subscribe("dev/a/#", "dev/b/#", "#", "$share/g/dev/b/x", qos=1) == [1, 0x87, 0x87, 0x87]
    v3 = await node.client("b", c.V311)
    assert await v3.subscribe("dev/b/x", "dev/a/x", qos=1) == [1, 0x80]


async def test_a_v5_publish_that_may_not_be_is_told_and_the_rest_is_published(node: MqttNode) -> None:
    """MQTT 5 sections 3.4.2.1 and 3.5.2.1: 0x87."""
    reader = await node.client("reader")
    node.broker.auth.topics.remove("guest", "/")
    await reader.subscribe("#", qos=2)
    node.broker.set_topic_permission(TopicPermission("guest", "/", "amq.topic", OWN, OWN))
    writer = await node.client("w", c.V5)
    for qos in (1, 2):
        ids = [
            writer.publish("dev/w/1", b"1", qos),
            writer.publish("dev/x/2", b"2", qos),
            writer.publish("dev/w/3", b"3", qos),
        ]
        answers = [await writer.expect(AckRun) for _ in ids]
        reasons = {one: answer.reasons.get(one, 0) for answer in answers for one in answer.packet_ids}
        assert reasons == dict(zip(ids, [0, r.NOT_AUTHORIZED, 0], strict=True))
        assert await reader.bodies(2) == [b"1", b"3"]
        if qos == 2:
            writer.ack(c.PUBREL, ids[0], ids[2])
            assert [(await writer.expect(AckRun)).kind for _ in range(2)] == [c.PUBCOMP] * 2
            # A PUBREC of 0x80 or more ends its flow: the id may be used at once [MQTT-4.3.3-9].
            assert await writer.published("dev/w/4", b"4", 2, packet_id=ids[1]) == 0
            assert await reader.bodies(1) == [b"4"]
    writer.publish("dev/x/5", b"5")
    await reader.silent()
    assert await writer.published("dev/w/6", b"6", 1) == 0, "the connection lives on"


async def test_a_v3_client_that_publishes_what_it_may_not_is_disconnected(node: MqttNode) -> None:
    """MQTT-3.3.5-2; what it published before that is published."""
    writer = await node.client("w", c.V311)
    await writer.subscribe("dev/w/#", qos=0)
    writer.publish("dev/w/1", b"1")
    writer.publish("dev/x/2", b"2")
    writer.publish("dev/w/3", b"3")
    assert (await writer.receive()).body == b"1"
    await writer.closed()


async def test_a_will_that_may_not_be_published_is_refused_at_connect(node: MqttNode) -> None:
    client = await node.client("a", c.V5, will=Will("dev/b/gone", b""))
    assert client.connack.reason == r.NOT_AUTHORIZED
    client = await node.client("a", c.V5, will=Will("dev/a/gone", b""))
    assert client.connack.reason == r.SUCCESS


async def test_a_resumed_session_keeps_only_what_its_user_may_read(node: MqttNode) -> None:
    expiry = {SESSION_EXPIRY_INTERVAL: 100}
    client = await node.client("a", c.V5, properties=expiry)
    await client.subscribe("dev/a/x", "dev/a/y", qos=1)
    await client.leave()
    node.broker.set_user("other", "pw", [])
    node.broker.set_permission(Permission("other", "/", ".*", ".*", ".*"))
    node.broker.set_topic_permission(TopicPermission("other", "/", "amq.topic", ".*", r"\.x$"))
    client = await node.client("a", c.V5, clean=False, username="other", password=b"pw", properties=expiry)
    assert client.connack.session_present
    assert await client.unsubscribe("dev/a/x", "dev/a/y") == [r.SUCCESS, r.NO_SUBSCRIPTION_EXISTED]
