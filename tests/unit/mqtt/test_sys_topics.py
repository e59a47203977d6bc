"""The `$SYS` topics: what the node tells of itself, to whom, and when it does not."""

from pathlib import Path

import pytest

from edge.core.message import PERSISTENT, Message
from mqtt import constants as c
from mqtt import properties as p
from mqtt import reasons as r
from mqtt.limits import MqttLimits
from mqtt.packets import AckRun
from mqtt.sys_topics import QUEUES_MAX
from tests.helpers.mqtt_node import MqttNode, RawClient, until


async def told(client: RawClient, count: int) -> dict[str, bytes]:
    return {one.topic: one.body for one in [await client.receive() for _ in range(count)]}


async def test_a_subscriber_is_told_at_once_as_if_retained(node: MqttNode) -> None:
    await node.client("other")
    client = await node.client("s", c.V5)
    await client.subscribe("$SYS/broker/clients/+", identifier=7)
    got = [await client.receive() for _ in range(3)]
    assert {one.topic: one.body for one in got} == {
        "$SYS/broker/clients/connected": b"2",
        "$SYS/broker/clients/disconnected": b"0",
        "$SYS/broker/clients/total": b"2",
    }
    assert all(one.retain and one.qos == 0 and one.properties == b"" for one in got)
    await client.subscribe("$SYS/broker/version")
    assert (await client.receive()).body.startswith(b"leveret version ")


async def test_what_has_changed_is_told_at_each_interval(node: MqttNode) -> None:
    client = await node.client("s")
    await client.subscribe("$SYS/broker/clients/connected", "$SYS/broker/version")
    await told(client, 2)
    other = await node.client("other")
    node.service.sys._tick()
    got = await client.receive()
    assert (got.topic, got.body, got.retain) == ("$SYS/broker/clients/connected", b"2", False)
    await client.silent()
    await other.leave()
    node.service.sys._tick()
    assert (await client.receive()).body == b"1"


async def test_without_a_subscriber_nothing_wakes_the_node(node: MqttNode) -> None:
    sys = node.service.sys
    assert sys._timer is None
    client = await node.client("s", clean=False)
    await client.subscribe("#", "a/b")
    assert sys._timer is None
    await client.subscribe("$SYS/broker/uptime")
    await client.receive()
    assert sys._timer is not None
    await client.unsubscribe("$SYS/broker/uptime")
    assert len(sys) == 0
    sys._timer.cancel()
    sys._tick()
    assert sys._timer is None
    await client.subscribe("$SYS/broker/uptime")
    await client.receive()
    await client.leave()
    assert len(sys) == 0
    client = await node.client("s", clean=False)
    assert len(sys) == 1, "a resumed session watches on"
    sys._tick()
    assert (await client.receive()).topic == "$SYS/broker/uptime"


async def test_an_interval_of_0_switches_them_off(tmp_path: Path) -> None:
    async with MqttNode(tmp_path, MqttLimits(sys_interval_s=0)) as node:
        client = await node.client("s")
        assert await client.subscribe("$SYS/#") == [0]
        await client.silent()
        assert node.service.sys._timer is None


@pytest.mark.parametrize("topic_filter", ["#", "+/#", "+/broker/version", "$share/g/#"])
async def test_filters_that_start_with_a_wildcard_see_none(node: MqttNode, topic_filter: str) -> None:
    """MQTT-4.7.2-1."""
    client = await node.client("s", c.V5)
    await client.subscribe("$SYS/broker/version")
    await client.receive()
    other = await node.client("o", c.V5)
    await other.subscribe(topic_filter)
    node.service.sys._tick()
    await other.silent()


@pytest.mark.parametrize("version", [c.V311, c.V5])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_only_the_node_publishes_there(node: MqttNode, version: int, qos: int) -> None:
    """Section 4.7.2: topics starting with $ are the server's. Mosquitto's bridges do it: they are not disconnected."""
    watcher = await node.client("w")
    await watcher.subscribe("$SYS/broker/connection/#", "told")
    client = await node.client("c", version)
    for _ in range(2):
        if version == c.V5 and qos:
            packet_id = client.publish("$SYS/broker/connection/x/state", b"1", qos, retain=True)
            assert (await client.expect(AckRun)).reasons == {packet_id: r.TOPIC_NAME_INVALID}
        else:
            await client.published("$SYS/broker/connection/x/state", b"1", qos, retain=True)
        client.publish("told", b"x")
        assert await watcher.bodies(1) == [b"x"]
    assert node.service.retained("/").messages == 0


async def test_amqp_cannot_pretend_to_be_the_node(node: MqttNode) -> None:
    watcher = await node.client("w", clean=False)
    await watcher.subscribe("$SYS/broker/version", "told", qos=1)
    await watcher.receive()
    vhost = node.broker.vhosts["/"]
    for key in ("$SYS.broker.version", "told"):
        for flags in (0, PERSISTENT):
            node.broker.publish(
                vhost, c.TOPIC_EXCHANGE, [Message(c.TOPIC_EXCHANGE, key, b"", b"x", 0, flags)]
            )
    assert [one.topic for one in [await watcher.receive(), await watcher.receive()]] == ["told", "told"]
    await watcher.silent()


async def test_queues_and_links_of_its_vhost_are_told_with_their_backlog(node: MqttNode) -> None:
    node.broker.add_vhost("fleet")
    node.broker.declare_queue(node.broker.vhosts["fleet"], "not mine")
    queue = node.broker.declare_queue(node.broker.vhosts["/"], "a/b+c")
    queue.enqueue([Message("", "a/b+c", b"", b"four", 0, PERSISTENT)])
    node.broker.status_sources["shovels"] = lambda: [
        {"name": "up", "vhost": "/", "state": "running", "blocked_status": "flow", "lag": 12},
        {"name": "other", "vhost": "fleet", "state": "running", "lag": 1},
    ]
    node.broker.status_sources["federation-links"] = lambda: [
        {"upstream": "base", "exchange": "fleet", "vhost": "/", "status": "running"}
    ]
    client = await node.client("s", clean=False)
    await client.subscribe("$SYS/broker/queues/#", "$SYS/broker/shovels/#", "$SYS/broker/federation/#")
    assert await told(client, 7) == {
        "$SYS/broker/queues/a%2Fb%2Bc/messages": b"1",
        "$SYS/broker/queues/a%2Fb%2Bc/bytes": b"4",
        "$SYS/broker/queues/mqtt-subscription-sqos1/messages": b"0",
        "$SYS/broker/queues/mqtt-subscription-sqos1/bytes": b"0",
        "$SYS/broker/shovels/up/state": b"flow",
        "$SYS/broker/shovels/up/backlog": b"12",
        "$SYS/broker/federation/base/fleet/state": b"running",
    }


async def test_of_many_queues_the_longest_are_told(node: MqttNode) -> None:
    vhost = node.broker.vhosts["/"]
    for i in range(QUEUES_MAX + 5):
        node.broker.declare_queue(vhost, f"q{i}", durable=False)
    vhost.queues["q1004"].enqueue([Message("", "q1004", b"", b"x")])
    names = [name for name, _ in node.service.sys.values("/") if name.endswith("/messages")]
    assert len(names) == QUEUES_MAX
    assert names[0] == "$SYS/broker/queues/q1004/messages"


async def test_traffic_of_connections_that_are_over_is_counted_too(node: MqttNode) -> None:
    publisher = await node.client("p")
    subscriber = await node.client("s", c.V5, properties={p.SESSION_EXPIRY_INTERVAL: 0})
    await subscriber.subscribe("t", qos=1)
    for qos in (0, 1, 2):
        await publisher.published("t", b"x", qos)
    await subscriber.bodies(3)
    await publisher.leave()
    await subscriber.leave()
    await until(lambda: not node.service.connected)
    values = dict(node.service.sys.values("/"))
    assert values["$SYS/broker/messages/received"] == 3
    assert values["$SYS/broker/messages/sent"] == 3
    assert int(str(values["$SYS/broker/bytes/received"])) > 30
    assert int(str(values["$SYS/broker/bytes/sent"])) > 30
