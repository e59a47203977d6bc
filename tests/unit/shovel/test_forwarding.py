"""How messages look to the destination: where to, what is overridden, what is added (RabbitMQ, shovel headers)."""

from edge.core.message import FORM_AMQP091, FORM_MQTT, MANDATORY, PERSISTENT, QOS2, Message
from edge.core.properties import BasicProperties, decode_properties, encode_properties, headers
from shovel.forwarding import Forwarder, TopicForwarder
from tests.unit.shovel.conftest import PROPERTIES, message, shovel_config

NOW_MS = 1_700_000_000_000


def forward(messages, username="guest", **values):
    config = shovel_config(**values)
    forwarder = Forwarder(config, "edge", str(config.destination.uris[0]), username)
    return forwarder.messages([(i, each, 0) for i, each in enumerate(messages)], NOW_MS)


def test_without_keys_a_message_goes_where_it_was_published_first():
    [out] = forward([message("x", "k", "fleet")])
    assert (out.exchange, out.routing_key, out.properties) == ("fleet", "k", PROPERTIES)
    assert out.flags == PERSISTENT | MANDATORY


def test_a_destination_queue_is_reached_by_the_default_exchange():
    [out] = forward([message("x", "k", "fleet")], dest_queue="q2")
    assert (out.exchange, out.routing_key) == ("", "q2")


def test_a_destination_exchange_keeps_the_key_unless_another_is_given():
    [out] = forward([message("x", "k")], dest_exchange="up")
    assert (out.exchange, out.routing_key) == ("up", "k")
    [out] = forward([message("x", "k")], dest_exchange="up", dest_exchange_key="all")
    assert out.routing_key == "all"


def test_publish_properties_override_and_leave_the_rest():
    before = encode_properties(BasicProperties(delivery_mode=2, message_id="m", headers={"a": 1}))
    [out] = forward(
        [message("x", properties=before)], dest_publish_properties={"delivery_mode": 1, "app_id": "e"}
    )
    after = decode_properties(out.properties)
    assert (after.delivery_mode, after.app_id, after.message_id, after.headers) == (1, "e", "m", {"a": 1})


def test_forward_headers_come_newest_first_with_text_values_and_no_credentials():
    before = encode_properties(BasicProperties(headers={"x-shovelled": [{"shovelled-by": "other"}]}))
    [out] = forward(
        [message("x", properties=before)],
        dest_uri="amqp://u:secret@base",
        dest_exchange="up",
        dest_add_forward_headers=True,
    )
    assert headers(out.properties)["x-shovelled"] == [
        {
            "shovelled-by": "edge",
            "shovel-type": "dynamic",
            "shovel-name": "s",
            "shovel-vhost": "/",
            "src-uri": "amqp://",
            "dest-uri": "amqp://base:5672",
            "src-queue": "q",
            "dest-exchange": "up",
        },
        {"shovelled-by": "other"},
    ]


def test_the_timestamp_header_is_in_seconds_and_does_not_stand_still():
    config = shovel_config(dest_add_timestamp_header=True)
    forwarder = Forwarder(config, "edge", "amqp://base", None)
    entries = [(0, message("x"), 0)]
    stamps = [
        headers(forwarder.messages(entries, now_ms)[0].properties)["x-shovelled-timestamp"]
        for now_ms in (NOW_MS, NOW_MS, NOW_MS + 2000)
    ]
    assert stamps == [NOW_MS // 1000, NOW_MS // 1000, NOW_MS // 1000 + 2]


def test_another_users_name_is_taken_off_for_the_destination_would_refuse_it():
    """RabbitMQ, "validated user-id": 406 unless it is the connection's own."""
    mine, other = (encode_properties(BasicProperties(user_id=name, app_id="a")) for name in ("guest", "eve"))
    kept, cleared = forward([message("x", properties=mine), message("x", properties=other)])
    assert decode_properties(kept.properties).user_id == "guest"
    assert decode_properties(cleared.properties) == BasicProperties(app_id="a")


def test_an_mqtt_message_stays_as_it_is_unless_something_is_added():
    mqtt = Message("amq.topic", "a.b", b"", b"x", form=FORM_MQTT, flags=PERSISTENT)
    [plain] = forward([mqtt])
    assert plain.form == FORM_MQTT
    [edited] = forward([mqtt], dest_publish_properties={"app_id": "e"})
    assert edited.form == FORM_AMQP091
    assert decode_properties(edited.properties) == BasicProperties(delivery_mode=2, app_id="e")


def topic(out_topic, entry):
    [out] = TopicForwarder(shovel_config(dest_uri="mqtt://base", **out_topic).destination).messages(
        [(0, entry, 0)]
    )
    return out


def test_towards_mqtt_the_topic_is_kept_prefixed_or_replaced():
    entry = message("x", "fleet.d1.v1/0", "amq.topic")
    assert topic({}, entry).routing_key == "fleet.d1.v1/0"
    assert topic({"dest_topic": "base/v1.0/"}, entry).routing_key == "base.v1/0.fleet.d1.v1/0"
    assert topic({"dest_topic": "base/all"}, entry).routing_key == "base.all"


def test_towards_mqtt_properties_are_converted_and_qos_2_becomes_1():
    entry = message("x", "a", properties=encode_properties(BasicProperties(content_type="text/plain")))
    out = topic({}, entry)
    assert out.form == FORM_MQTT
    assert b"text/plain" in out.properties
    qos2 = Message("amq.topic", "a", b"", b"x", form=FORM_MQTT, flags=PERSISTENT | QOS2)
    assert topic({}, qos2).flags == PERSISTENT
