"""[[federation-upstream]] tables and what they name (rabbit_federation_upstream)."""

import re

import pytest

from edge.core.errors import ConfigError
from edge.core.exchanges.topic import TopicExchange
from edge.core.policy import Policy
from edge.parameters import Parameter
from edge.policy_keys import check_definition
from edge.tables import Table
from federation.upstream import queue_name, read_upstream
from federation.upstreams import Upstreams, read_set
from tests.helpers import brokers


def read(**values):
    table = {"name": "base", "uri": "amqp://base"} | {
        key.replace("_", "-"): value for key, value in values.items()
    }
    return read_upstream(Table("leveret.toml: [[federation-upstream]] base", table))


def test_defaults_are_those_of_rabbitmq():
    upstream = read()
    assert (upstream.max_hops, upstream.prefetch_count, upstream.ack_mode) == (1, 1000, "on-confirm")
    assert upstream.queue_arguments() == {"x-internal-purpose": "federation", "x-queue-type": "classic"}


def test_expires_and_ttl_become_arguments_of_the_upstreams_queue():
    arguments = read(expires=60_000, message_ttl=5_000).queue_arguments()
    assert (arguments["x-expires"], arguments["x-message-ttl"]) == (60_000, 5_000)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"max_hopps": 2}, "max-hopps: unknown key; the closest known key is max-hops"),
        ({"max_hops": 0}, "max-hops: must be at least 1"),
        ({"uri": "mqtt://base"}, "uri: scheme must be one of amqp, amqps"),
        ({"resource_cleanup_mode": "default"}, "resource-cleanup-mode: must be one of never"),
    ],
)
def test_a_mistake_names_table_and_key(values, says):
    with pytest.raises(ConfigError) as caught:
        read(**values)
    assert caught.value.text.startswith("leveret.toml: [[federation-upstream]] base: ")
    assert says in caught.value.text


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("x", "x", "/", "/"), "federation: x -> edge"),
        (("x", "up", "/", "/"), "federation: up -> edge:x"),
        (("x", "x", "v", "/"), "federation: x -> edge:v:x"),
    ],
)
def test_the_upstreams_queue_is_named_as_rabbitmq_names_it(names, expected):
    exchange, upstream_exchange, vhost, upstream_vhost = names
    assert queue_name(exchange, upstream_exchange, vhost, upstream_vhost, "edge") == expected


@pytest.fixture
async def broker(tmp_path):
    broker = await brokers.start(tmp_path)
    yield broker
    await brokers.stop(broker)


FLEET = TopicExchange("/", "fleet")


def chosen(upstreams, definition, exchange=FLEET):
    """Names of the upstreams, and of their exchanges where they have one."""
    found = upstreams.wanted(Policy("/", "p", "", definition), exchange)
    return [
        upstream.name if upstream.exchange is None else (upstream.name, upstream.exchange)
        for upstream in found
    ]


async def test_a_policy_names_upstreams_by_name_by_pattern_or_by_set(broker):
    tables = [Table("[[federation-upstream]]", {"name": name, "uri": "amqp://up"}) for name in ("one", "two")]
    elsewhere = Table("[[federation-upstream]]", {"name": "one", "vhost": "v", "uri": "amqp://up"})
    parameters = broker.parameters
    parameters.put(Parameter("/", "federation-upstream", "three", {"uri": "amqp://up"}))
    parameters.put(
        Parameter("/", "federation-upstream-set", "s", [{"upstream": "three"}, {"upstream": "two"}])
    )
    upstreams = Upstreams(parameters, [*tables, elsewhere])
    assert chosen(upstreams, {"federation-upstream": "two"}) == ["two"]
    assert chosen(upstreams, {"federation-upstream": "none"}) == []
    assert chosen(upstreams, {"federation-upstream-set": "all"}) == ["three", "one", "two"]
    assert chosen(upstreams, {"federation-upstream-set": "s"}) == ["three", "two"]
    assert chosen(upstreams, {"federation-upstream-set": "none"}) == []
    assert chosen(upstreams, {"federation-upstream-pattern": "^t"}) == ["three", "two"]
    assert chosen(upstreams, {"federation-upstream-pattern": "o"}) == ["one", "two"]
    assert chosen(upstreams, {"max-length": 1}) == []
    assert chosen(upstreams, {"federation-upstream-set": "all"}, TopicExchange("/", "i", internal=True)) == []
    assert upstreams.wanted(None, FLEET) == []


async def test_a_set_says_keys_of_its_upstreams_anew(broker, caplog):
    tables = [Table("[[federation-upstream]]", {"name": "up", "uri": "amqp://up", "max-hops": 3})]
    members = [
        {"upstream": "up"},
        {"upstream": "up", "exchange": "other", "max-hops": 5},
        {"upstream": "gone"},
    ]
    broker.parameters.put(Parameter("/", "federation-upstream-set", "s", members))
    upstreams = Upstreams(broker.parameters, tables)
    assert chosen(upstreams, {"federation-upstream-set": "s"}) == ["up", ("up", "other")]
    hops = [
        upstream.max_hops
        for upstream in upstreams.wanted(Policy("/", "p", "", {"federation-upstream-set": "s"}), FLEET)
    ]
    assert hops == [3, 5]
    assert "there is no upstream 'gone'" in caplog.text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"upstream": "a"}, "must be a list of objects"),
        (["a"], "item 1: must be an object with the key upstream"),
        ([{"upstream": "a"}, {"uri": "amqp://b"}], "item 2: must be an object with the key upstream"),
        (
            [{"upstream": "a", "max-hop": 1}],
            "item 1: max-hop: unknown key; the closest known key is max-hops",
        ),
        ([{"upstream": "a", "max-hops": 0}], "item 1: max-hops: must be at least 1"),
    ],
)
def test_a_set_that_cannot_be_is_refused(value, text):
    with pytest.raises(ConfigError, match=re.escape(text)):
        read_set(Parameter("/", "federation-upstream-set", "s", value))


async def test_what_an_older_version_has_let_in_is_told_and_left_out(broker, caplog):
    broker.parameters.put(Parameter("/", "federation-upstream", "bad", {"uri": "amqp://up", "max-hop": 1}))
    broker.parameters.put(Parameter("/", "federation-upstream-set", "s", {"upstream": "bad"}))
    assert chosen(Upstreams(broker.parameters, []), {"federation-upstream-set": "all"}) == []
    assert chosen(Upstreams(broker.parameters, []), {"federation-upstream-set": "s"}) == []
    assert "must be a list of objects" in caplog.text
    assert "max-hop: unknown key" in caplog.text


def test_a_pattern_must_be_a_regular_expression():
    with pytest.raises(ConfigError, match="federation-upstream-pattern: no regular expression"):
        check_definition("policy 'p'", {"federation-upstream-pattern": "("})
