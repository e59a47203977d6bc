"""[[shovel]] tables: RabbitMQ's keys, checked (rabbit_shovel_parameters)."""

import pytest

from edge.core.errors import ConfigError
from edge.tables import Table
from shovel.config import read_shovel


def read(**values):
    table = {"name": "reports", "src-uri": "amqp://", "src-queue": "q", "dest-uri": "amqp://base"}
    table |= {key.replace("_", "-"): value for key, value in values.items()}
    return read_shovel(
        Table("leveret.toml: [[shovel]] reports", {k: v for k, v in table.items() if v is not None})
    )


def test_a_queue_to_an_exchange_as_in_the_documentation():
    config = read(dest_uri=["amqps://base.example:5671/fleet"], dest_exchange="fleet")
    assert config.source.is_local
    assert config.source.queue == "q"
    assert config.source.prefetch_count is None, "the window adapts unless a count is given"
    assert config.destination.exchange == "fleet"
    assert config.destination.uris[0].vhost == "fleet"
    assert config.ack_mode == "on-confirm"
    assert config.reconnect_delay_s == 1.0


def test_legacy_names_mean_the_same():
    config = read(prefetch_count=7, add_forward_headers=True, publish_properties={"app_id": "edge"})
    assert config.source.prefetch_count == 7
    assert config.destination.add_forward_headers
    assert config.destination.publish_properties == {"app_id": "edge"}


def test_a_topic_filter_becomes_a_binding_key_of_amq_topic():
    config = read(src_queue=None, src_uri=None, src_topic="fleet/+/v1.0/#", dest_uri="mqtt://base")
    assert (config.source.protocol, config.source.exchange) == ("mqtt", "amq.topic")
    assert config.source.exchange_key == "fleet.*.v1/0.#"
    assert config.destination.protocol == "mqtt"


def test_an_unknown_key_is_named_with_the_closest_known_one():
    with pytest.raises(ConfigError) as caught:
        read(src_que="q")
    assert caught.value.text == (
        "leveret.toml: [[shovel]] reports: src-que: unknown key; the closest known key is src-queue"
    )


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"src_queue": None}, "src-queue or src-exchange: missing"),
        ({"src_exchange": "x"}, "src-queue: cannot stand beside src-exchange"),
        (
            {"src_queue": None, "src_exchange": ""},
            "src-exchange: nothing can be bound to the default exchange",
        ),
        ({"src_uri": None}, "src-uri: missing"),
        ({"src_uri": ["amqp://", "amqp://other"]}, "src-uri: names both this node and others"),
        ({"src_protocol": "local", "src_uri": "amqp://other"}, "src-uri: with src-protocol local"),
        ({"src_protocol": "mqtt"}, "src-topic: missing"),
        ({"src_topic": "a/#"}, "src-queue: has no meaning with protocol mqtt"),
        ({"src_queue": None, "src_topic": "a/#/b"}, "src-topic: 'a/#/b' is no MQTT topic filter"),
        ({"src_delete_after": 10}, "src-delete-after: only 'never' is supported"),
        ({"dest_uri": None}, "dest-uri: missing"),
        ({"dest_uri": []}, "dest-uri: must be a URI or a list of at least one"),
        ({"dest_uri": ["amqp://a", "mqtt://b"]}, "dest-uri: all URIs of a list must be of one protocol"),
        (
            {"dest_uri": "mqtt://a", "dest_protocol": "amqp091"},
            "dest-uri: does not fit dest-protocol amqp091",
        ),
        ({"dest_uri": "mqtt://"}, "dest-uri: has no host"),
        ({"dest_protocol": "local"}, "dest-uri: with dest-protocol local"),
        ({"dest_queue": "a", "dest_exchange": "b"}, "dest-queue: cannot stand beside dest-exchange"),
        ({"dest_topic": "a"}, "dest-topic: has no meaning with protocol amqp091"),
        ({"dest_uri": "mqtt://a", "dest_queue": "q"}, "dest-queue: has no meaning with protocol mqtt"),
        (
            {"dest_uri": "mqtt://a", "dest_add_forward_headers": True},
            "dest-add-forward-headers: has no meaning",
        ),
        ({"dest_publish_properties": {"app": "x"}}, "app: unknown key; the closest known key is app_id"),
        ({"dest_publish_properties": {"priority": 300}}, "priority cannot be 300"),
        ({"src_queue_args": {"x-at": object()}}, "src-queue-args: a object has no place"),
        ({"ack_mode": "maybe"}, "ack-mode: must be one of on-confirm, on-publish, no-ack"),
        ({"src_prefetch_count": 0}, "src-prefetch-count: must be at least 1"),
    ],
)
def test_a_mistake_names_file_table_and_key(values, says):
    with pytest.raises(ConfigError) as caught:
        read(**values)
    assert caught.value.text.startswith("leveret.toml: [[shovel]] reports: ")
    assert says in caught.value.text
