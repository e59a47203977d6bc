"""Exchanges of nodes federated with each other: declarations at the upstream, bindings, loops, exactly once."""

import asyncio
import shutil
from collections.abc import Callable

import pytest

from edge.broker import Broker
from edge.core.exchanges import TYPES
from edge.core.message import PERSISTENT, Message
from edge.core.properties import BasicProperties, encode_properties
from tests.helpers.leveret import LeveretInProcess, Ports

PROPERTIES = encode_properties(BasicProperties(delivery_mode=2))


def federation_toml(*upstreams, pattern="^fleet", **keys):
    extra = "".join(f"{key.replace('_', '-')} = {value!r}\n" for key, value in keys.items())
    tables = "".join(
        f'[[federation-upstream]]\nname = "{name}"\nuri = "{uri}"\nreconnect-delay = 0.1\n{extra}'
        for name, uri in upstreams
    )
    return tables + (
        f'[[policy]]\nname = "fed"\npattern = "{pattern}"\napply-to = "exchanges"\n'
        'definition = { federation-upstream-set = "all" }\n'
    )


async def until(condition, timeout_s=5.0):
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 -- a condition on plain objects, nobody sets an event
            await asyncio.sleep(0.002)


def declare(node, *keys, exchange="fleet", queue="q"):
    broker = node.node.broker
    vhost = broker.vhost("/")
    broker.declare_exchange(vhost, exchange, "topic")
    broker.declare_queue(vhost, queue)
    for key in keys:
        broker.bind(vhost, exchange, queue, key)


def publish(node, bodies, key="a.1", exchange="fleet"):
    broker = node.node.broker
    messages = [Message(exchange, key, PROPERTIES, str(body).encode(), flags=PERSISTENT) for body in bodies]
    broker.publish(broker.vhost("/"), exchange, messages)


def bodies(node, queue="q"):
    return [entry[1].body.decode() for entry in node.node.broker.vhost("/").queues[queue].ready]


def rows(node):
    return node.node.broker.status_sources["federation-links"]()


def bindings(node):
    return sorted(
        (b.source.name, b.destination.name, b.routing_key) for b in node.node.broker.vhost("/").bindings()
    )


async def running(node, count=1):
    await until(lambda: [row["status"] for row in rows(node)] == ["running"] * count)


@pytest.fixture
async def base(tmp_path):
    async with LeveretInProcess(tmp_path / "base", name="base") as node:
        yield node


@pytest.fixture
async def edge(tmp_path, base):
    toml = federation_toml(("base", base.uri()))
    async with LeveretInProcess(tmp_path / "edge", toml, name="edge") as node:
        yield node


async def test_what_is_published_upstream_arrives_once_and_in_order(base, edge):
    declare(edge, "a.*")
    await running(edge)
    publish(base, range(2000))
    await until(lambda: len(bodies(edge)) == 2000)
    assert bodies(edge) == [str(i) for i in range(2000)]
    assert rows(edge)[0]["exactly_once"]
    await until(lambda: base.node.broker.vhost("/").queues["federation: fleet -> edge"].messages == 0)


async def test_only_what_is_bound_here_crosses_the_link(base, edge):
    declare(edge, "a.*")
    await running(edge)
    publish(base, ["no"], "b.1")
    publish(base, ["yes"], "a.1")
    await until(lambda: bodies(edge) == ["yes"])
    assert rows(edge)[0]["forwarded"] == 1


async def test_cc_leads_to_queues_here_too(base, edge):
    declare(edge, "a.*")
    declare(edge, "copy", queue="copies")
    await running(edge)
    sent = encode_properties(BasicProperties(headers={"CC": ["copy"]}, delivery_mode=2))
    broker = base.node.broker
    broker.publish(broker.vhost("/"), "fleet", [Message("fleet", "a.1", sent, b"x", flags=PERSISTENT)])
    await until(lambda: (bodies(edge), bodies(edge, "copies")) == (["x"], ["x"]))


async def test_the_upstream_has_the_objects_that_rabbitmq_would_make(base, edge):
    declare(edge, "a.*")
    await running(edge)
    vhost = base.node.broker.vhost("/")
    queue = vhost.queues["federation: fleet -> edge"]
    assert queue.durable
    assert queue.arguments == {"x-internal-purpose": "federation", "x-queue-type": "classic"}
    internal = vhost.exchanges["federation: fleet -> edge A"]
    assert (internal.type, internal.internal, internal.auto_delete) == ("x-federation-upstream", True, True)
    assert internal.arguments == {
        "x-max-hops": 1,
        "x-downstream-name": "edge",
        "x-downstream-vhost": "/",
        "x-internal-purpose": "federation",
    }
    assert vhost.exchanges["fleet"].type == "topic"
    assert bindings(base) == [
        ("federation: fleet -> edge A", "federation: fleet -> edge", ""),
        ("fleet", "federation: fleet -> edge A", "a.*"),
    ]


async def test_bindings_follow_as_they_come_and_go(base, edge):
    declare(edge)
    await running(edge)
    broker = edge.node.broker
    for i in range(50):
        broker.bind(broker.vhost("/"), "fleet", "q", f"k.{i}")
    await until(lambda: len(bindings(base)) == 51)
    for i in range(49):
        broker.unbind(broker.vhost("/"), "fleet", "q", f"k.{i}")
    await until(lambda: len(bindings(base)) == 2)
    assert bindings(base)[1][2] == "k.49"


async def test_a_restarted_link_keeps_what_the_upstream_kept_and_drops_stale_bindings(tmp_path, base):
    """RabbitMQ's link deletes its queue at a restart, messages included (rabbitmq-federation#105)."""
    toml, ports = federation_toml(("base", base.uri())), Ports()
    async with LeveretInProcess(tmp_path / "edge", toml, "edge", ports) as edge:
        declare(edge, "a.*", "b.*")
        await running(edge)
        await until(lambda: len(bindings(base)) == 3)
    publish(base, range(100))
    async with LeveretInProcess(tmp_path / "edge", toml, "edge", ports) as edge:
        await until(lambda: len(bodies(edge)) == 100)
        broker = edge.node.broker
        await running(edge)
        assert bindings(base)[0][0] == "federation: fleet -> edge B", "A and B take turns"
        broker.unbind(broker.vhost("/"), "fleet", "q", "b.*")
        await until(lambda: len(bindings(base)) == 2)


async def test_two_nodes_federated_with_each_other_do_not_send_messages_round(tmp_path):
    left_ports, right_ports = Ports(), Ports()
    left_toml = federation_toml(("right", right_ports.uri()))
    right_toml = federation_toml(("left", left_ports.uri()))
    async with (
        LeveretInProcess(tmp_path / "left", left_toml, "left", left_ports) as left,
        LeveretInProcess(tmp_path / "right", right_toml, "right", right_ports) as right,
    ):
        for node in (left, right):
            declare(node, "a.*")
        await running(left)
        await running(right)
        await until(lambda: len(bindings(left)) == 3 and len(bindings(right)) == 3)
        publish(left, ["from left"])
        publish(right, ["from right"])
        await until(lambda: len(bodies(left)) == 2 and len(bodies(right)) == 2)
        await asyncio.sleep(0.1)
        assert sorted(bodies(left)) == sorted(bodies(right)) == ["from left", "from right"]


async def test_a_chain_needs_two_hops(tmp_path, base):
    middle_ports = Ports()
    middle_toml = federation_toml(("base", base.uri()), max_hops=2)
    edge_toml = federation_toml(("middle", middle_ports.uri()), max_hops=2)
    async with (
        LeveretInProcess(tmp_path / "middle", middle_toml, "middle", middle_ports) as middle,
        LeveretInProcess(tmp_path / "edge", edge_toml, "edge") as edge,
    ):
        declare(middle)
        declare(edge, "a.*")
        await running(middle)
        await running(edge)
        await until(lambda: any("a.*" in binding for binding in bindings(base)))
        publish(base, ["far"])
        await until(lambda: bodies(edge) == ["far"])


async def test_a_message_that_was_taken_before_is_only_acknowledged_again(tmp_path, base):
    """The acknowledgement is lost, not the message: exactly once by (origin, sequence)."""
    toml, ports = federation_toml(("base", base.uri())), Ports()
    async with LeveretInProcess(tmp_path / "edge", toml, "edge", ports) as edge:
        declare(edge, "a.*")
        await running(edge)
        supervisor = edge.node.broker.status_sources["federation-links"].__self__  # type: ignore[attr-defined]
        [link] = supervisor.workers.values()
        link._intake._ack = lambda tags, multiple: None
        publish(base, range(100))
        await until(lambda: len(bodies(edge)) == 100)
        link.fail(OSError("cut before the acknowledgement"))
        await until(lambda: rows(edge)[0]["duplicates"] == 100)
        await until(lambda: base.node.broker.vhost("/").queues["federation: fleet -> edge"].messages == 0)
        assert len(bodies(edge)) == 100


async def test_without_the_extension_it_is_at_least_once(tmp_path, base, monkeypatch):
    monkeypatch.setattr("federation.exchange_link.SEQUENCE_CAPABILITY", "something else")
    async with LeveretInProcess(tmp_path / "edge", federation_toml(("base", base.uri()))) as edge:
        declare(edge, "a.*")
        await running(edge)
        publish(base, range(300))
        await until(lambda: len(bodies(edge)) == 300)
        assert not rows(edge)[0]["exactly_once"]
        await until(lambda: base.node.broker.vhost("/").queues["federation: fleet -> edge"].messages == 0)


@pytest.mark.parametrize("ack_mode", ["on-publish", "no-ack"])
async def test_the_weaker_ack_modes_leave_nothing_upstream(tmp_path, base, ack_mode):
    toml = federation_toml(("base", base.uri()), ack_mode=ack_mode)
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        declare(edge, "a.*")
        await running(edge)
        publish(base, range(50))
        await until(lambda: len(bodies(edge)) == 50)
        await until(lambda: base.node.broker.vhost("/").queues["federation: fleet -> edge"].messages == 0)


async def test_an_upstream_without_the_exchange_type_gets_a_fanout(tmp_path, base, monkeypatch):
    """RabbitMQ 4 without the plugin answers 406 (rabbitmq-server#12892)."""
    monkeypatch.delitem(TYPES, "x-federation-upstream")
    async with LeveretInProcess(tmp_path / "edge", federation_toml(("base", base.uri()))) as edge:
        declare(edge, "a.*")
        await running(edge)
        assert base.node.broker.vhost("/").exchanges["federation: fleet -> edge A"].type == "fanout"
        publish(base, ["x"])
        await until(lambda: bodies(edge) == ["x"])


async def test_an_exchange_declared_later_is_federated_and_a_deleted_one_leaves_nothing_behind(base, edge):
    assert rows(edge) == []
    declare(edge, "a.*")
    await running(edge)
    broker = edge.node.broker
    broker.delete_exchange(broker.vhost("/"), "fleet")
    await until(lambda: not rows(edge))
    await until(lambda: not base.node.broker.vhost("/").queues)
    assert not [name for name in base.node.broker.vhost("/").exchanges if name.startswith("federation")]


async def test_other_arguments_than_before_keep_the_queue_and_its_messages(tmp_path, base):
    ports = Ports()
    async with LeveretInProcess(
        tmp_path / "edge", federation_toml(("base", base.uri())), "edge", ports
    ) as edge:
        declare(edge, "a.*")
        await running(edge)
    publish(base, ["kept"])
    toml = federation_toml(("base", base.uri()), message_ttl=3_600_000)
    async with LeveretInProcess(tmp_path / "edge", toml, "edge", ports) as edge:
        await until(lambda: bodies(edge) == ["kept"])


async def test_status_rows_have_the_keys_of_rabbitmq_and_no_credentials(base, edge):
    declare(edge, "a.*")
    await running(edge)
    [row] = rows(edge)
    assert (
        row.items()
        >= {
            "node": "edge",
            "type": "exchange",
            "exchange": "fleet",
            "upstream_exchange": "fleet",
            "vhost": "/",
            "upstream": "base",
            "status": "running",
            "uri": f"amqp://127.0.0.1:{base.ports.amqp}",
        }.items()
    )
    assert len(row["id"]) == 8
    assert row["local_connection"]
    assert "guest" not in str(row)


async def test_an_unreachable_upstream_shows_its_error(tmp_path):
    toml = federation_toml(("base", "amqp://u:secret@127.0.0.1:1"))
    async with LeveretInProcess(tmp_path / "edge", toml) as edge:
        declare(edge)
        await until(lambda: rows(edge)[0]["status"] == "error")
        assert "127.0.0.1:1" in rows(edge)[0]["error"]
        assert "secret" not in str(rows(edge))


async def test_a_link_of_a_congested_node_stops_reading_until_it_is_relieved(base, edge, monkeypatch):
    declare(edge, "a.*")
    await running(edge)
    congested = {"edge"}
    relieved: list[Callable[[], None]] = []
    monkeypatch.setattr(Broker, "congested", property(lambda broker: broker.name in congested))
    monkeypatch.setattr(edge.node.broker, "when_relieved", relieved.append)
    publish(base, range(10))
    await until(lambda: len(bodies(edge)) == 10)
    publish(base, range(10, 20))
    await asyncio.sleep(0.1)
    assert len(bodies(edge)) == 10
    congested.clear()
    for callback in relieved:
        callback()
    await until(lambda: len(bodies(edge)) == 20)


@pytest.mark.parametrize("is_sequenced", [True, False])
async def test_what_a_full_queue_refuses_stays_upstream_and_comes_in_order_later(
    tmp_path, base, monkeypatch, is_sequenced
):
    """An upstream's message is not acknowledged because the queue here has no room for it (reject-publish)."""
    monkeypatch.setattr("federation.intake.OFFER_DELAY_S", 0.01)
    if not is_sequenced:
        monkeypatch.setattr("federation.exchange_link.SEQUENCE_CAPABILITY", "something else")
    async with LeveretInProcess(
        tmp_path / "edge", federation_toml(("base", base.uri())), name="edge"
    ) as edge:
        broker = edge.node.broker
        vhost = broker.vhost("/")
        broker.declare_exchange(vhost, "fleet", "topic")
        broker.declare_queue(vhost, "q", arguments={"x-max-length": 10, "x-overflow": "reject-publish"})
        broker.bind(vhost, "fleet", "q", "a.*")
        await running(edge)
        publish(base, range(50))
        kept = base.node.broker.vhost("/").queues["federation: fleet -> edge"]
        await until(lambda: len(bodies(edge)) == 10 and kept.messages == 40)
        publish(base, range(50, 60))
        seen: list[str] = []
        while len(seen) < 60:
            await until(lambda: vhost.queues["q"].ready)
            entry = vhost.queues["q"].pop(no_ack=True)
            assert entry is not None
            seen.append(entry[1].body.decode())
        assert seen == [str(i) for i in range(60)]
        await until(lambda: kept.messages == 0)


async def test_an_upstream_that_was_restored_from_an_older_copy_loses_nothing_new(tmp_path):
    """Its queue gives numbers again that meant other messages before."""
    ports = Ports()
    async with LeveretInProcess(tmp_path / "base", "", "base", ports) as base:
        toml = federation_toml(("base", base.uri()))
        async with LeveretInProcess(tmp_path / "edge", toml, name="edge") as edge:
            declare(edge, "a.*")
            await running(edge)
            publish(base, ["a0", "a1"])
            await until(lambda: len(bodies(edge)) == 2)
            await base.stop()
            shutil.copytree(tmp_path / "base", tmp_path / "copy")
            await base.start()
            await running(edge)
            publish(base, ["a2", "a3", "a4"])
            await until(lambda: len(bodies(edge)) == 5)
            await base.stop()
            shutil.rmtree(tmp_path / "base")
            shutil.copytree(tmp_path / "copy", tmp_path / "base")
            await base.start()
            await running(edge)
            publish(base, ["b2", "b3", "b4", "b5"])
            await until(lambda: "b5" in bodies(edge))
            assert bodies(edge) == ["a0", "a1", "a2", "a3", "a4", "b2", "b3", "b4", "b5"]


async def test_the_old_internal_exchange_goes_only_when_the_name_of_the_new_one_is_on_disk(
    base, edge, monkeypatch
):
    """Else a crash here would make the next link delete and bind anew the one that is bound."""
    declare(edge, "a.*")
    await running(edge)
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(edge.node.store, "committed", lambda: never)
    supervisor = edge.node.broker.status_sources["federation-links"].__self__
    [link] = supervisor.workers.values()
    link.fail(OSError("cut"))
    await until(lambda: {"fleet A", "fleet B"} <= internal_exchanges(base))
    await asyncio.sleep(0.1)
    assert {"fleet A", "fleet B"} <= internal_exchanges(base)
    never.set_result(None)
    await until(lambda: internal_exchanges(base) == {"fleet B"})


def internal_exchanges(node):
    """ "<upstream exchange> <A or B>" of each."""
    names = [name for name in node.node.broker.vhost("/").exchanges if name.startswith("federation: ")]
    return {f"fleet {name[-1]}" for name in names}
