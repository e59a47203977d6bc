"""Sessions: subscriptions and filters, what survives a connection and a restart, clean start and expiry."""

import asyncio

import pytest

from mqtt import constants as c
from mqtt import properties as p
from mqtt import reasons as r
from mqtt.limits import MqttLimits
from mqtt.packets import AckRun, Subscription
from tests.helpers.mqtt_node import MqttNode

QUEUE = "mqtt-subscription-sqos1"
FOR_EVER = {p.SESSION_EXPIRY_INTERVAL: 0xFFFFFFFF}
AN_HOUR = {p.SESSION_EXPIRY_INTERVAL: 3600}


@pytest.mark.parametrize(
    ("topic_filter", "matching", "other"),
    [
        ("a/b", ["a/b"], ["a", "a/b/c", "a.b", "A/b"]),
        ("a/+", ["a/b", "a/", "a/b.c"], ["a", "a/b/c"]),
        ("+", ["a", "a.b"], ["/a", "a/b"]),
        ("+/+", ["/a", "a/b"], ["a", "$a/b"]),
        ("/+", ["/a"], ["a"]),
        ("a/#", ["a", "a/b", "a/b/c", "a/"], ["b", "ab/c"]),
        ("#", ["a", "/a", "a/b/c", "a//b"], ["$data/a"]),
        ("+/b/#", ["a/b", "a/b/c"], ["a/c", "$a/b"]),
        ("$data/#", ["$data", "$data/a"], ["data/a"]),
        ("a//b", ["a//b"], ["a/b"]),
        ("a*/b", ["a*/b"], ["ax/b"]),
        ("*/b", ["*/b"], ["a/b"]),
        ("sensor/1.5/+", ["sensor/1.5/t"], ["sensor/1/5/t"]),
    ],
)
async def test_a_filter_matches_what_it_should(
    node: MqttNode, topic_filter: str, matching: list[str], other: list[str]
) -> None:
    """Section 4.7: MQTT-4.7.1-1 to -3, MQTT-4.7.2-1, MQTT-4.7.3-4."""
    subscriber = await node.client("s")
    await subscriber.subscribe(topic_filter, qos=1)
    publisher = await node.client("p")
    for qos in (0, 1):
        for topic in other + matching:
            await publisher.published(topic, topic.encode(), qos)
        got = [await subscriber.receive() for _ in matching]
        assert [one.topic for one in got] == matching
    await subscriber.silent()


@pytest.mark.parametrize("topic_filter", ["", "a/#/b", "a#", "a/b+", "+a", "##", "/".join("x" * 200)])
@pytest.mark.parametrize(("version", "reason"), [(c.V311, 0x80), (c.V5, r.TOPIC_FILTER_INVALID)])
async def test_an_invalid_filter_is_refused(
    node: MqttNode, topic_filter: str, version: int, reason: int
) -> None:
    """MQTT-4.7.1-1, MQTT-4.7.1-2, MQTT-4.7.3-1."""
    client = await node.client("s", version)
    assert await client.subscribe(topic_filter, "good") == [reason, 0]


async def test_overlapping_filters_bring_a_message_once_at_the_highest_qos(node: MqttNode) -> None:
    """MQTT-3.3.4-2."""
    subscriber = await node.client("s")
    await subscriber.subscribe("a/#", qos=0)
    await subscriber.subscribe("a/+", qos=2)
    await subscriber.subscribe("+/b", qos=1)
    await (await node.client("p")).published("a/b", b"once", 2)
    got = await subscriber.receive()
    assert got.qos == 2
    await subscriber.silent()


async def test_a_filter_subscribed_again_replaces_its_options(node: MqttNode) -> None:
    """MQTT-3.8.4-3."""
    subscriber = await node.client("s")
    await subscriber.subscribe("t", qos=2)
    await subscriber.subscribe("t", qos=0)
    await (await node.client("p")).published("t", b"x", 2)
    assert (await subscriber.receive()).qos == 0
    await subscriber.silent()


async def test_unsubscribed_filters_bring_nothing_more(node: MqttNode) -> None:
    """MQTT-3.10.4-1, MQTT-3.10.4-2."""
    subscriber = await node.client("s", c.V5)
    await subscriber.subscribe("t", "u", qos=1)
    assert await subscriber.unsubscribe("t", "never") == [0, r.NO_SUBSCRIPTION_EXISTED]
    publisher = await node.client("p")
    await publisher.published("t", b"no")
    await publisher.published("u", b"yes")
    assert await subscriber.bodies(1) == [b"yes"]
    await subscriber.silent()


async def test_no_local_keeps_a_client_from_its_own(node: MqttNode) -> None:
    """MQTT-3.8.3-3."""
    client = await node.client("s", c.V5)
    await client.subscribe("t", qos=1, no_local=True)
    other = await node.client("o", c.V5)
    await client.published("t", b"own", 0)
    await client.published("t", b"own", 1)
    await other.published("t", b"other", 1)
    assert await client.bodies(1) == [b"other"]
    await client.silent()


async def test_a_bridge_does_not_get_its_own_back_and_sees_retain_as_published(node: MqttNode) -> None:
    bridge = await node.client("b", c.V311, is_bridge=True)
    await bridge.subscribe("t", qos=1)
    await bridge.published("t", b"own")
    await (await node.client("p")).published("t", b"kept", retain=True)
    got = await bridge.receive()
    assert (got.body, got.retain) == (b"kept", True)


async def test_retain_as_published_shows_retain_to_live_subscribers(node: MqttNode) -> None:
    """MQTT-3.3.1-12, MQTT-3.3.1-13."""
    plain = await node.client("s1", c.V5)
    await plain.subscribe("t", qos=1)
    showing = await node.client("s2", c.V5)
    await showing.subscribe("t", qos=1, retain_as_published=True)
    publisher = await node.client("p")
    await publisher.published("t", b"x", retain=True)
    assert not (await plain.receive()).retain
    assert (await showing.receive()).retain


async def test_too_many_subscriptions_are_refused(node: MqttNode) -> None:
    node.service.limits = MqttLimits(subscriptions_max=2)
    client = await node.client("s", c.V5)
    assert await client.subscribe("a", "b", "c", "a") == [0, 0, r.QUOTA_EXCEEDED, 0]


async def test_a_foreign_queue_in_the_way_refuses_the_subscription(node: MqttNode) -> None:
    node.broker.declare_queue(node.broker.vhosts["/"], QUEUE, durable=False)
    client = await node.client("s", c.V5)
    assert await client.subscribe("t") == [r.UNSPECIFIED_ERROR]


@pytest.mark.parametrize("qos", [1, 2])
async def test_a_persistent_session_collects_while_its_client_is_away(node: MqttNode, qos: int) -> None:
    """MQTT-3.1.2-5, MQTT-3.1.2-6: QoS 1 and 2; QoS 0 is not kept."""
    client = await node.client("s", clean=False)
    assert not client.connack.session_present
    await client.subscribe("t/+", qos=qos)
    await client.leave()
    publisher = await node.client("p")
    await publisher.published("t/0", b"qos 0", 0)
    for i in range(3):
        await publisher.published(f"t/{i}", b"%d" % i, qos)
    client = await node.client("s", clean=False)
    assert client.connack.session_present
    assert await client.bodies(3) == [b"0", b"1", b"2"]
    await client.silent()


async def test_a_persistent_session_survives_a_restart_of_the_node(node: MqttNode) -> None:
    client = await node.client("s", c.V5, clean=False, properties=FOR_EVER)
    await client.subscribe("t", qos=2)
    await client.leave()
    publisher = await node.client("p")
    await publisher.published("t", b"before", 1)
    await node.restart()
    assert node.broker.vhosts["/"].queues[QUEUE].durable
    publisher = await node.client("p")
    await publisher.published("t", b"after", 2)
    client = await node.client("s", c.V5, clean=False, properties=FOR_EVER)
    assert client.connack.session_present
    assert await client.bodies(2) == [b"before", b"after"]
    await publisher.published("t", b"live")
    assert await client.bodies(1) == [b"live"]


async def test_a_clean_session_leaves_nothing(node: MqttNode) -> None:
    """MQTT-3.1.2-23."""
    client = await node.client("s")
    await client.subscribe("t", qos=1)
    assert QUEUE in node.broker.vhosts["/"].queues
    await client.leave()
    await asyncio.sleep(0.02)
    assert QUEUE not in node.broker.vhosts["/"].queues
    assert node.service.sessions == {}
    assert not (await node.client("s", clean=False)).connack.session_present


async def test_clean_start_forgets_the_session(node: MqttNode) -> None:
    """MQTT-3.1.2-4."""
    client = await node.client("s", clean=False)
    await client.subscribe("t", qos=1)
    await client.leave()
    await (await node.client("p")).published("t", b"forgotten")
    client = await node.client("s")
    assert not client.connack.session_present
    await client.silent()
    await client.leave()
    assert not (await node.client("s", clean=False)).connack.session_present


async def test_a_session_expires(node: MqttNode) -> None:
    """MQTT 5 section 3.1.2.11.2."""
    client = await node.client("s", c.V5, properties=AN_HOUR)
    await client.subscribe("t", qos=1)
    await client.leave()
    await asyncio.sleep(0.02)
    node.clock.travelled_ms += 3_599_000
    node.broker.deadlines.run_due()
    assert len(node.service.sessions) == 1
    node.clock.travelled_ms += 2_000
    node.broker.deadlines.run_due()
    assert node.service.sessions == {}
    assert QUEUE not in node.broker.vhosts["/"].queues


async def test_a_session_that_came_back_in_time_counts_anew(node: MqttNode) -> None:
    client = await node.client("s", c.V5, properties=AN_HOUR)
    await client.leave()
    await asyncio.sleep(0.02)
    node.clock.travelled_ms += 3_000_000
    client = await node.client("s", c.V5, clean=False, properties=AN_HOUR)
    assert client.connack.session_present
    node.clock.travelled_ms += 3_000_000
    node.broker.deadlines.run_due()
    assert len(node.service.sessions) == 1
    await client.leave()
    await asyncio.sleep(0.02)
    node.clock.travelled_ms += 3_000_000
    node.broker.deadlines.run_due()
    assert len(node.service.sessions) == 1


async def test_a_session_expires_while_the_node_is_down(node: MqttNode) -> None:
    client = await node.client("s", c.V5, properties={p.SESSION_EXPIRY_INTERVAL: 10})
    await client.subscribe("t", qos=1)
    await client.leave()
    await asyncio.sleep(0.02)
    await node.stop()
    node.clock.travelled_ms += 11_000
    await node.start()
    assert node.service.sessions == {}
    assert QUEUE not in node.broker.vhosts["/"].queues


async def test_a_short_expiry_fires_by_itself(node: MqttNode) -> None:
    client = await node.client("s", c.V5, properties={p.SESSION_EXPIRY_INTERVAL: 1})
    await client.leave()
    await asyncio.sleep(1.2)
    assert node.service.sessions == {}


async def test_disconnect_may_change_the_expiry(node: MqttNode) -> None:
    """MQTT 5 section 3.14.2.2.2."""
    client = await node.client("s", c.V5, properties=AN_HOUR)
    await client.leave(0, {p.SESSION_EXPIRY_INTERVAL: 0})
    await asyncio.sleep(0.02)
    assert node.service.sessions == {}


async def test_disconnect_may_not_give_an_expiry_to_a_session_without(node: MqttNode) -> None:
    """MQTT-3.14.2-2."""
    client = await node.client("s", c.V5)
    client.send(b"\xe0\x07\0\x05\x11\0\0\0\x0a")
    assert await client.disconnected() == r.PROTOCOL_ERROR


async def test_a_queue_that_an_operator_deleted_is_made_again(node: MqttNode) -> None:
    client = await node.client("s", clean=False)
    await client.subscribe("t", qos=1)
    vhost = node.broker.vhosts["/"]
    node.broker.delete_queue(vhost, vhost.queues[QUEUE])
    await client.closed()
    client = await node.client("s", clean=False)
    assert client.connack.session_present
    await (await node.client("p")).published("t", b"again")
    assert await client.bodies(1) == [b"again"]


async def test_what_waits_in_the_queue_is_delivered_after_unsubscribing(node: MqttNode) -> None:
    """MQTT-3.10.4-3: the server may deliver what it has buffered."""
    client = await node.client("s", clean=False)
    await client.subscribe("t", qos=1)
    await client.leave()
    await (await node.client("p")).published("t", b"buffered")
    session = node.service.sessions["/\0s"]
    assert node.service.unsubscribe(session, "t")
    client = await node.client("s", clean=False)
    assert await client.bodies(1) == [b"buffered"]


async def test_a_session_remembers_options_and_identifiers_over_a_restart(node: MqttNode) -> None:
    client = await node.client("s", c.V5, properties=FOR_EVER)
    await client.subscribe("t", qos=1, no_local=True, identifier=7)
    await node.restart()
    session = node.service.sessions["/\0s"]
    assert session.subscriptions == {"t": Subscription("t", 1, True, False, 0, 7)}


async def test_a_session_takes_ten_thousand_messages_in_order(node: MqttNode) -> None:
    """More than the queue's window in RAM and a good part of a round of packet identifiers."""
    client = await node.client("s", clean=False)
    await client.subscribe("t", qos=1)
    await client.leave()
    publisher = await node.client("p")
    for i in range(10_000):
        publisher.publish("t", b"%d" % i, 1)
    for _ in range(10_000):
        await publisher.expect(AckRun)
    client = await node.client("s", clean=False)
    assert await client.bodies(10_000) == [b"%d" % i for i in range(10_000)]


async def test_a_flapping_client_leaves_one_deadline_behind(node: MqttNode) -> None:
    """A month of expiry and a link that breaks every few seconds would be half a million of them."""
    for _ in range(100):
        client = await node.client("c", c.V5, clean=False, properties={p.SESSION_EXPIRY_INTERVAL: 2_592_000})
        await client.leave()
    assert len(node.broker.deadlines) == 1
    assert len(node.broker.deadlines._heap) < 70


async def test_a_shared_queue_that_is_in_the_way_refuses_the_client(node: MqttNode) -> None:
    """It is refused and told so, not left waiting for its CONNACK."""
    client = await node.client("c", c.V5, clean=False, properties={p.SESSION_EXPIRY_INTERVAL: 100})
    await client.subscribe("$share/g/t", qos=1)
    await client.leave()
    vhost = node.broker.vhost("/")
    node.broker.delete_queue(vhost, vhost.queues["mqtt-shared-g-t"])
    node.broker.declare_queue(vhost, "mqtt-shared-g-t")
    again = await node.client("c", c.V5, clean=False, properties={p.SESSION_EXPIRY_INTERVAL: 100})
    assert again.connack.reason >= 0x80
