"""URIs of peers (RabbitMQ, "URI specification" and "URI query parameters")."""

import pytest

from edge.core.errors import ConfigError
from edge.uris import parse_uri, parse_uris


def test_parts_are_percent_decoded():
    uri = parse_uri("here", "amqp://us%40er:p%2Fw@base.example:5673/fleet%2Fnorth")
    assert (uri.username, uri.password, uri.host, uri.port, uri.vhost) == (
        "us@er",
        "p/w",
        "base.example",
        5673,
        "fleet/north",
    )


@pytest.mark.parametrize(
    ("text", "port"), [("amqp://a", 5672), ("amqps://a", 5671), ("mqtt://a", 1883), ("mqtts://a", 8883)]
)
def test_each_scheme_has_its_port(text, port):
    assert parse_uri("here", text, ("amqp", "mqtt")).port == port


def test_no_host_means_this_node():
    assert parse_uri("here", "amqp://").is_local
    assert parse_uri("here", "amqp:///fleet").vhost == "fleet"


def test_a_missing_path_is_the_default_vhost_and_a_bare_slash_the_empty_one():
    assert parse_uri("here", "amqp://a").vhost == "/"
    assert not parse_uri("here", "amqp://a").names_vhost
    assert parse_uri("here", "amqp://a/").vhost == ""


def test_text_and_repr_show_no_credentials():
    uri = parse_uri("here", "amqp://user:secret@base:5673/fleet")
    assert str(uri) == "amqp://base:5673/fleet"
    assert "secret" not in repr(uri)
    assert "user" not in repr(uri)


def test_an_ipv6_host_is_shown_in_brackets():
    assert str(parse_uri("here", "mqtt://[::1]", ("mqtt",))) == "mqtt://[::1]:1883"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("http://user:secret@a", "scheme must be one of amqp, amqps, not 'http'"),
        ("amqp://user:secret@a:99999", "the port must be a number up to 65535"),
        ("amqp://user:secret@[a", "not a URI"),
        ("secret:secret@a", "not a URI"),
        (
            "amqp://user:secret@a?heartbeet=1",
            "heartbeet: unknown query parameter; the closest known one is heartbeat",
        ),
        ("amqp://user:secret@a?heartbeat=soon", "heartbeat: must be a whole number"),
        ("amqps://user:secret@a?verify=maybe", "verify: must be verify_peer or verify_none"),
        ("amqps://user:secret@a?cacertfile=/nowhere.pem", "cacertfile, certfile or keyfile"),
        ("mqtt://user:secret@a?version=4", "version: must be 5 or 3.1.1"),
    ],
)
def test_a_mistake_is_told_without_the_password(text, says):
    with pytest.raises(ConfigError) as caught:
        parse_uri("leveret.toml: dest-uri", text, ("amqp", "mqtt") if text.startswith("mqtt") else ("amqp",))
    assert caught.value.text.startswith("leveret.toml: dest-uri: ")
    assert says in caught.value.text
    assert "secret" not in caught.value.text


def test_query_parameters_set_heartbeat_and_timeout():
    uri = parse_uri("here", "amqp://a?heartbeat=3&connection_timeout=1500")
    assert (uri.heartbeat_s, uri.connect_timeout_s) == (3, 1.5)
    uri = parse_uri("here", "mqtt://a?keepalive=7&client_id=x&version=3.1.1", ("mqtt",))
    assert (uri.heartbeat_s, uri.client_id, uri.mqtt_version) == (7, "x", 4)


def test_tls_verifies_the_peer_unless_told_otherwise():
    strict, lax = parse_uris("here", ["amqps://a", "amqps://a?verify=verify_none"])
    assert strict.tls is not None
    assert strict.tls.check_hostname
    assert lax.tls is not None
    assert not lax.tls.check_hostname


def test_an_empty_list_is_refused():
    with pytest.raises(ConfigError, match="at least one"):
        parse_uris("here", [])
