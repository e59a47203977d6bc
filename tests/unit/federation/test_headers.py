"""Hops and cycles: x-received-from on messages, x-bound-from on bindings (rabbit_federation_exchange_link)."""

from typing import Any

from edge.core.message import Message
from edge.core.properties import BasicProperties, decode_properties, encode_properties, headers
from edge.core.table import Int16, encode_table
from federation.headers import Stamp, bound_from, should_forward


def properties(received=None, **values):
    if received is not None:
        values["headers"] = {"x-received-from": received}
    return encode_properties(BasicProperties(**values))


def visit(cluster, vhost="/"):
    return {"cluster-name": cluster, "vhost": vhost}


def stamp(**values):
    options: dict[str, Any] = {
        "uri": "amqp://base:5672",
        "exchange": "mine",
        "upstream_cluster": "base",
        "upstream_vhost": "/",
        "cluster": "edge",
        "vhost": "/",
        "max_hops": 2,
        "trust_user_id": False,
    }
    return Stamp(**(options | values))


def received(encoded, redelivered=False, **values):
    return stamp(**values).received(Message("theirs", "k", encoded, b"x"), redelivered)


def test_a_received_message_tells_where_it_has_been_newest_first():
    message = received(properties([visit("other")], message_id="m"), True)
    assert (message.exchange, message.routing_key) == ("mine", "k")
    table = headers(message.properties)
    assert table["x-received-from"] == [
        {
            "uri": "amqp://base:5672",
            "exchange": "mine",
            "redelivered": True,
            "cluster-name": "base",
            "vhost": "/",
        },
        visit("other"),
    ]
    assert decode_properties(message.properties).message_id == "m"


def test_an_upstream_without_a_name_is_left_out():
    message = received(properties(), upstream_cluster="")
    assert headers(message.properties)["x-received-from"] == [
        {"uri": "amqp://base:5672", "exchange": "mine", "redelivered": False, "vhost": "/"}
    ]


def test_what_was_here_before_or_has_no_hop_left_is_dropped():
    assert received(properties([visit("edge")])) is None
    assert received(properties([visit("edge", "other vhost")])) is not None
    assert received(properties([visit("a"), visit("b")])) is None
    assert received(properties([visit("a")]), max_hops=1) is None


def test_a_header_that_is_no_list_is_overlooked():
    assert should_forward(
        encode_properties(BasicProperties(headers={"x-received-from": "me"})), 1, "edge", "/"
    )


def test_another_brokers_user_is_cleared_unless_trusted():
    assert decode_properties(received(properties(user_id="eve")).properties).user_id is None
    trusted = received(properties(user_id="eve"), trust_user_id=True)
    assert decode_properties(trusted.properties).user_id == "eve"


def bind(arguments, max_hops=3):
    return bound_from(
        arguments,
        max_hops=max_hops,
        exchange="/:mine A",
        cluster="edge",
        vhost="/",
        upstream_cluster="base",
        upstream_vhost="/",
    )


def test_a_local_binding_starts_with_all_hops_as_a_16_bit_integer():
    arguments = bind({"x-match": "all"})
    assert arguments == {
        "x-match": "all",
        "x-bound-from": [{"cluster-name": "edge", "vhost": "/", "exchange": "/:mine A", "hops": 3}],
    }
    assert type(arguments["x-bound-from"][0]["hops"]) is Int16
    assert b"hopss\x00\x03" in encode_table(arguments)


def test_a_binding_from_further_down_loses_a_hop_and_ends_with_the_last():
    below = {"cluster-name": "below", "vhost": "/", "exchange": "/:x A", "hops": Int16(3)}
    arguments = bind({"x-bound-from": [below]})
    assert [entry["hops"] for entry in arguments["x-bound-from"]] == [2, 3]
    assert bind({"x-bound-from": [below]}, max_hops=1)["x-bound-from"][0]["hops"] == 1
    assert bind({"x-bound-from": [below | {"hops": Int16(1)}]}) is None


def test_a_binding_never_goes_back_to_where_it_came_from():
    came = {"cluster-name": "base", "vhost": "/", "exchange": "/:x A", "hops": Int16(3)}
    assert bind({"x-bound-from": [came]}) is None
