"""Drives paho-mqtt, of the version of MQTT given, by the lines on its standard input; see ``mqtt.client``."""

import socket
import sys
import threading
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from tests.interop.lines import Fault, Json, body_of, requests, send, shown
from tests.interop.mqtt.python.values import (
    NO_DELAY,
    given_properties,
    properties,
    refused_code,
    shown_properties,
    subscription,
    will_properties,
)

WAIT_S = 10.0


class Client:
    """One paho client with its thread, made to wait for what it is asked."""

    def __init__(self, r: Json, version: int) -> None:
        self.version = version
        clean: Json = {} if version == paho.MQTTv5 else {"clean_session": r["clean"]}
        self.paho = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=r["client_id"],
            protocol=version,
            manual_ack=not r["acknowledge"],
            reconnect_on_failure=False,
            **clean,
        )
        self.paho.username_pw_set(r["username"], r["password"])
        self.name = r["client"]
        self.asked_to_end = False
        self.connack: tuple[bool, int] | None = None
        self.codes: dict[int, list[int]] = {}
        self.published: list[paho.MQTTMessageInfo] = []
        self.changed = threading.Condition()
        self.paho.on_socket_open = lambda _client, _data, sock: sock.setsockopt(*NO_DELAY)
        self.paho.on_connect = self.on_connect
        self.paho.on_message = self.on_message
        self.paho.on_disconnect = self.on_disconnect
        self.paho.on_subscribe = self.on_acknowledged
        self.paho.on_unsubscribe = self.on_acknowledged
        if (will := r["will"]) is not None:
            fields = (will["topic"], will["body"], will["qos"], will["retain"])
            self.paho.will_set(*fields, will_properties(will, version))

    def connect(self, r: Json) -> bool:
        uri = urlsplit(r["uri"])
        options: Json = {}
        if self.version == paho.MQTTv5:
            session = properties(PacketTypes.CONNECT, self.version, SessionExpiryInterval=r["expiry"])
            options = {"clean_start": r["clean"], "properties": session}
        self.paho.connect(str(uri.hostname), uri.port or 1883, **options)
        return self.connected()

    def connected(self) -> bool:
        self.paho.loop_start()
        with self.changed:
            assert self.changed.wait_for(lambda: self.connack is not None, WAIT_S)
        assert self.connack is not None
        present, code = self.connack
        if code != 0:
            self.end()
            raise Fault("connect", refused_code(code, self.version), "")
        return present

    def on_connect(self, _client: Any, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        with self.changed:
            self.connack = flags.session_present, reason.value
            self.changed.notify_all()

    def on_acknowledged(self, _client: Any, _data: Any, mid: int, reasons: Any, _properties: Any) -> None:
        with self.changed:
            self.codes[mid] = [reason.value for reason in reasons]
            self.changed.notify_all()

    def on_disconnect(self, _client: Any, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        if not self.asked_to_end:
            self.asked_to_end = True
            code = reason.value if flags.is_disconnect_packet_from_server else None
            send({"event": "closed", "client": self.name, "code": code})

    def on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        line = {
            "topic": message.topic,
            "body": shown(message.payload),
            "qos": message.qos,
            "retain": message.retain,
            "dup": message.dup,
            "properties": shown_properties(message.properties),
        }
        send({"event": "message", "client": self.name, **line})

    def acknowledged(self, mid: int | None) -> list[int]:
        assert mid is not None
        with self.changed:
            assert self.changed.wait_for(lambda: mid in self.codes, WAIT_S)
            return self.codes.pop(mid)

    def subscribe(self, r: Json) -> list[int]:
        filters, kept = subscription(r, self.version)
        return self.acknowledged(self.paho.subscribe(filters, properties=kept)[1])

    def unsubscribe(self, r: Json) -> None:
        self.acknowledged(self.paho.unsubscribe(r["filter"])[1])

    def publish(self, r: Json) -> None:
        bodies = [body_of(r)] if r["count"] is None else [b"%d" % number for number in range(r["count"])]
        told = properties(PacketTypes.PUBLISH, self.version, **given_properties(r["properties"]))
        self.published += [self.paho.publish(r["topic"], b, r["qos"], r["retain"], told) for b in bodies]
        if r["wait"]:
            self.wait_for_all()

    def wait_for_all(self) -> None:
        for info in self.published:
            info.wait_for_publish(WAIT_S)
            assert info.is_published()
        self.published.clear()

    def resume(self, _r: Json) -> bool:
        self.asked_to_end, self.connack = False, None
        self.paho.reconnect()
        present = self.connected()
        self.wait_for_all()
        return present

    def end(self, code: int = 0, expiry: int | None = None) -> None:
        self.asked_to_end = True
        if self.version == paho.MQTTv5:
            reason = ReasonCode(PacketTypes.DISCONNECT, identifier=code)
            told = properties(PacketTypes.DISCONNECT, self.version, SessionExpiryInterval=expiry)
            self.paho.disconnect(reason, told)
        else:
            self.paho.disconnect()
        self.paho.loop_stop()

    def drop(self, _r: Json) -> None:
        self.asked_to_end = True
        sock = self.paho.socket()
        assert sock is not None
        sock.shutdown(socket.SHUT_RDWR)
        self.paho.loop_stop()


def main(version: int) -> None:
    clients: dict[str, Client] = {}

    def carry_out(r: Json) -> Json:
        match r["op"]:
            case "connect":
                clients[r["client"]] = client = Client(r, version)
                return client.connect(r)
            case "disconnect":
                return clients.pop(r["client"]).end(r["code"], r["expiry"])
        return getattr(clients[r["client"]], r["op"])(r)

    lines = requests()
    while (request := lines.get()) is not None:
        try:
            send({"answer": carry_out(request)})
        except Fault as fault:
            clients.pop(request["client"])
            send(fault.answer)


main(paho.MQTTv5 if sys.argv[1] == "5" else paho.MQTTv311)
