"""Policies are runtime state: kept in the store, and in force at once (RabbitMQ, "Parameters and Policies")."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.broker import Broker
from edge.core.errors import ConfigError, NotFound
from edge.core.policy import Policy
from edge.core.vhost import VHost
from edge.policy_keys import DEFINITION_KEYS
from tests.helpers.brokers import crash, message, numbered, start, stop, turn


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    made = await start(tmp_path)
    yield made
    await stop(made)


@pytest.fixture
def vhost(broker: Broker) -> VHost:
    return broker.vhosts["/"]


def limit(count: int, name: str = "p", **options: object) -> Policy:
    return Policy("/", name, "^q", {"max-length": count}, **options)  # type: ignore[arg-type]


async def test_a_policy_shortens_a_queue_at_once_and_its_end_lets_it_grow(
    broker: Broker, vhost: VHost
) -> None:
    queue = broker.declare_queue(vhost, "q")
    queue.enqueue(numbered(5))
    broker.set_policy(limit(3))
    await turn()
    assert queue.messages_ready == 3
    broker.delete_policy("/", "p")
    queue.enqueue(numbered(5))
    await turn()
    assert queue.messages_ready == 8


async def test_an_operator_policy_caps_the_users_and_stands_alone_without_one(
    broker: Broker, vhost: VHost
) -> None:
    queue = broker.declare_queue(vhost, "q")
    broker.set_policy(limit(9), limit(3, "cap", operator=True))
    assert queue.policy == {"max-length": 3}
    broker.delete_policy("/", "p")
    assert queue.policy == {"max-length": 3}
    broker.delete_policy("/", "cap", operator=True)
    assert queue.policy == {}


async def test_a_policy_gives_an_exchange_an_alternate_at_once(broker: Broker, vhost: VHost) -> None:
    source = broker.declare_exchange(vhost, "e", "direct")
    broker.declare_exchange(vhost, "other", "fanout")
    queue = broker.declare_queue(vhost, "q")
    broker.bind(vhost, "other", "q", "")
    assert vhost.route(source, message()) == ()
    policy = Policy("/", "ae", "^e$", {"alternate-exchange": "other"}, apply_to="exchanges")
    broker.set_policy(policy)
    assert vhost.route(source, message()) == (queue,)
    broker.delete_policy("/", "ae")
    assert vhost.route(source, message()) == ()


async def test_an_exchange_declared_later_goes_by_the_policy_too(broker: Broker, vhost: VHost) -> None:
    broker.set_policy(Policy("/", "ae", "", {"alternate-exchange": "amq.fanout"}))
    assert broker.declare_exchange(vhost, "e", "direct").policy == {"alternate-exchange": "amq.fanout"}


async def test_an_exchanges_own_alternate_goes_before_the_policys(broker: Broker, vhost: VHost) -> None:
    broker.set_policy(Policy("/", "ae", "", {"alternate-exchange": "amq.fanout"}))
    own = broker.declare_exchange(vhost, "e", "direct", arguments={"alternate-exchange": "amq.topic"})
    assert own.alternate(vhost.exchanges) is vhost.exchange("amq.topic")


async def test_policies_survive_a_crash_once_they_are_committed(tmp_path: Path) -> None:
    broker = await start(tmp_path)
    broker.declare_queue(broker.vhost("/"), "q")
    broker.set_policy(limit(9, priority=2), limit(3, "cap", operator=True), limit(5, "gone"))
    broker.set_policy(limit(7, "of the file"), stored=False)
    broker.delete_policy("/", "gone")
    await broker.store.committed()
    await crash(broker)
    again = await start(tmp_path)
    assert [policy.name for policy in again.policies.list()] == ["p"]
    policy = again.policies.find("/", "p")
    assert policy is not None
    assert (policy.pattern, policy.apply_to, policy.priority) == ("^q", "all", 2)
    assert again.vhost("/").queue("q").policy == {"max-length": 3}
    await stop(again)


async def test_what_is_not_there_cannot_be_deleted_and_an_unknown_vhost_has_no_policies(
    broker: Broker,
) -> None:
    with pytest.raises(NotFound, match="no policy 'p' in vhost '/'"):
        broker.delete_policy("/", "p")
    with pytest.raises(NotFound, match="vhost 'x' not found"):
        broker.set_policy(Policy("x", "p", "", {"max-length": 1}))


@pytest.mark.parametrize(
    ("definition", "operator", "text"),
    [
        (
            {"max-lengths": 1},
            False,
            "policy 'p': max-lengths: unknown key; the closest known key is max-length",
        ),
        ({"max-length": -1}, False, "policy 'p': max-length: must be at least 0, not -1"),
        ({"overflow": "x"}, False, "policy 'p': overflow: must be one of"),
        (
            {"federation-upstream": "a", "federation-upstream-set": "all"},
            False,
            "policy 'p': federation-upstream-set: cannot stand beside federation-upstream",
        ),
        ({"dead-letter-exchange": "x"}, True, "operator policy 'p': dead-letter-exchange: unknown key"),
    ],
)
async def test_a_definition_that_rabbitmq_refuses_is_refused(
    broker: Broker, definition: dict[str, object], operator: bool, text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        broker.set_policy(Policy("/", "p", "", definition, operator=operator))
    assert not broker.policies.list(operator=operator)


async def test_a_policy_applies_to_something_that_there_is(broker: Broker) -> None:
    with pytest.raises(ConfigError, match="policy 'p': apply-to: must be one of all, exchanges, queues"):
        broker.set_policy(limit(5, apply_to="topics"))


def test_every_key_is_there_once() -> None:
    names = [key.name for key in DEFINITION_KEYS]
    assert len(names) == len(set(names))
