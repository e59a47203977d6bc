"""Sources on this node: buffer queues of exchanges and topics."""

import pytest

from edge.core.errors import NotFound
from shovel.source import LocalSource
from tests.unit.shovel.conftest import message, shovel_config


def bindings(broker, queue):
    vhost = broker.vhost("/")
    return [(b.source.name, b.routing_key) for b in vhost.bindings_to(vhost.queues[queue])]


async def test_an_exchange_is_buffered_in_a_durable_queue_named_after_the_shovel(broker):
    broker.declare_exchange(broker.vhost("/"), "fleet", "topic")
    source = LocalSource(broker, shovel_config(src_exchange="fleet", src_exchange_key="a.*"))
    queue = source.prepare()
    assert (queue.name, queue.durable, queue.exclusive) == ("shovel: s", True, False)
    assert bindings(broker, "shovel: s") == [("fleet", "a.*")]
    broker.publish(broker.vhost("/"), "fleet", [message("x", "a.b", "fleet")])
    assert source.waiting() == 1


async def test_a_topic_filter_is_bound_to_amq_topic(broker):
    LocalSource(broker, shovel_config(src_topic="fleet/+/state")).prepare()
    assert bindings(broker, "shovel: s") == [("amq.topic", "fleet.*.state")]


async def test_a_changed_key_replaces_the_binding_of_before(broker):
    LocalSource(broker, shovel_config(src_topic="old/#")).prepare()
    LocalSource(broker, shovel_config(src_topic="new/#")).prepare()
    assert bindings(broker, "shovel: s") == [("amq.topic", "new.#")]


async def test_a_missing_queue_is_declared_durable_with_the_given_arguments(broker):
    queue = LocalSource(broker, shovel_config(src_queue_args={"x-max-priority": 3})).prepare()
    assert queue.durable
    assert queue.arguments == {"x-max-priority": 3}


async def test_an_existing_queue_is_taken_as_it_is(broker):
    broker.declare_queue(broker.vhost("/"), "q", durable=False)
    assert not LocalSource(broker, shovel_config(src_queue_args={"x-max-priority": 3})).prepare().durable


async def test_a_predeclared_queue_must_be_there(broker):
    with pytest.raises(NotFound):
        LocalSource(broker, shovel_config(src_predeclared=True)).prepare()


async def test_the_uri_may_name_another_vhost_of_this_node(broker):
    broker.add_vhost("fleet")
    queue = LocalSource(broker, shovel_config(src_uri="amqp:///fleet")).prepare()
    assert queue.vhost == "fleet"
