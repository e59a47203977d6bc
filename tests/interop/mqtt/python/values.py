"""What the drivers of paho-mqtt and of aiomqtt, which is built on it, have in common."""

import socket
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.interop.lines import Json

NAMES = {
    "content_type": "ContentType",
    "response_topic": "ResponseTopic",
    "correlation_data": "CorrelationData",
    "message_expiry": "MessageExpiryInterval",
    "user_properties": "UserProperty",
    "identifiers": "SubscriptionIdentifier",
}
NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
"""Else a small packet waits for up to 40 ms, until TCP has acknowledged the one before."""
REFUSED_V311 = {0x84: 1, 0x85: 2, 0x88: 3, 0x86: 4, 0x87: 5}
"""paho shows a CONNACK of 3.1.1 by the codes of MQTT 5: back to its own."""


def refused_code(shown: int, version: int) -> int:
    return shown if version == paho.MQTTv5 else REFUSED_V311[shown]


def properties(kind: int, version: int, **values: Any) -> Properties | None:
    """Of paho's own names; None in a version without properties."""
    if version != paho.MQTTv5:
        return None
    made = Properties(kind)
    for name, value in values.items():
        if value is not None:
            setattr(made, name, value)
    return made


def given_properties(told: Json) -> dict[str, Any]:
    given = {NAMES[name]: value for name, value in told.items()}
    if "CorrelationData" in given:
        given["CorrelationData"] = given["CorrelationData"].encode()
    if "UserProperty" in given:
        given["UserProperty"] = [tuple(pair) for pair in given["UserProperty"]]
    return given


def will_properties(will: Json, version: int) -> Properties | None:
    told = given_properties(will["properties"])
    return properties(PacketTypes.WILLMESSAGE, version, WillDelayInterval=will["delay"], **told)


def shown_properties(found: Properties | None) -> Json:
    shown = {name: getattr(found, own) for name, own in NAMES.items() if hasattr(found, own)}
    if "correlation_data" in shown:
        shown["correlation_data"] = shown["correlation_data"].decode()
    return shown


def subscription(r: Json, version: int) -> tuple[Any, Properties | None]:
    """What paho's ``subscribe`` takes for the filters of a request, and its properties."""
    if version != paho.MQTTv5:
        return [(name, r["qos"]) for name in r["filters"]], None
    asked = r["options"]
    options = SubscribeOptions(
        r["qos"],
        noLocal=asked.get("no_local", False),
        retainAsPublished=asked.get("retain_as_published", False),
        retainHandling=asked.get("retain_handling", 0),
    )
    identifier = asked.get("identifier")
    kept = properties(PacketTypes.SUBSCRIBE, version, SubscriptionIdentifier=identifier)
    return [(name, options) for name in r["filters"]], kept
