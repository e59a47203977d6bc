"""Drives gmqtt, of the version of MQTT given, by the lines on its standard input; see ``mqtt.client``."""

import asyncio
import sys
from typing import Any
from urllib.parse import urlsplit

import gmqtt
from gmqtt.mqtt.constants import MQTTv50, MQTTv311
from gmqtt.mqtt.handler import MQTTConnectError
from gmqtt.storage import PersistentStorage

from tests.interop.lines import Fault, Json, body_of, requests, send, shown

WAIT_S = 10.0
NAMES = {
    "content_type": "content_type",
    "response_topic": "response_topic",
    "correlation_data": "correlation_data",
    "message_expiry": "message_expiry_interval",
    "user_properties": "user_property",
    "identifiers": "subscription_identifier",
}
LISTS = ("user_properties", "identifiers")
NO_RECONNECT = {"reconnect_retries": -2}
"""With 0 the client connects again once, and -1 stands for ever."""


def given_properties(told: Json) -> Json:
    given = {NAMES[name]: value for name, value in told.items()}
    if "correlation_data" in given:
        given["correlation_data"] = given["correlation_data"].encode()
    return given


def shown_properties(found: Json) -> Json:
    told = {name: found[own] for name, own in NAMES.items() if own in found}
    told = {name: values if name in LISTS else values[0] for name, values in told.items()}
    if "correlation_data" in told:
        told["correlation_data"] = told["correlation_data"].decode()
    return told


def will_of(will: Json) -> gmqtt.Message:
    fields = (will["topic"], will["body"], will["qos"], will["retain"])
    return gmqtt.Message(*fields, will_delay_interval=will["delay"], **given_properties(will["properties"]))


class Client:
    def __init__(self, r: Json, version: int) -> None:
        self.name = r["client"]
        self.version = version
        self.uri = urlsplit(r["uri"])
        self.asked_to_end = False
        self.present = False
        self.acknowledged: dict[int, asyncio.Future[list[int]]] = {}
        self.unacknowledged = PersistentStorage()
        """What is published and not acknowledged: the client tells it by no other way."""
        session = {"session_expiry_interval": r["expiry"]} if version == MQTTv50 else {}
        self.gmqtt = gmqtt.Client(
            r["client_id"],
            clean_session=r["clean"],
            optimistic_acknowledgement=r["acknowledge"],
            will_message=None if r["will"] is None else will_of(r["will"]),
            persistent_storage=self.unacknowledged,
            **session,
        )
        self.gmqtt.set_config(NO_RECONNECT)
        self.gmqtt.set_auth_credentials(r["username"], r["password"])
        self.gmqtt.on_connect = self.on_connect
        self.gmqtt.on_message = self.on_message if r["acknowledge"] else self.on_message_for_ever
        self.gmqtt.on_disconnect = self.on_disconnect
        self.gmqtt.on_subscribe = self.on_acknowledged
        self.gmqtt.on_unsubscribe = self.on_acknowledged

    async def connect(self) -> bool:
        try:
            await self.gmqtt.connect(str(self.uri.hostname), self.uri.port or 1883, version=self.version)
        except MQTTConnectError as error:
            self.asked_to_end = True
            raise Fault("connect", error._code, str(error)) from None
        return self.present

    def on_connect(self, _client: Any, present: int, _code: int, _properties: Any) -> None:
        self.present = bool(present)

    def on_message(self, _client: Any, topic: str, payload: bytes, qos: int, properties: Json) -> None:
        line = {
            "topic": topic,
            "body": shown(bytes(payload)),
            "qos": qos,
            "retain": bool(properties["retain"]),
            "dup": bool(properties["dup"]),
            "properties": shown_properties(properties),
        }
        send({"event": "message", "client": self.name, **line})

    async def on_message_for_ever(self, *parts: Any) -> None:
        """The client acknowledges what has returned."""
        self.on_message(*parts)
        await asyncio.Event().wait()

    def on_disconnect(self, _client: Any, packet: bytes) -> None:
        if not self.asked_to_end:
            self.asked_to_end = True
            send({"event": "closed", "client": self.name, "code": packet[0] if packet else None})

    def on_acknowledged(self, _client: Any, mid: int, codes: Json, *_properties: Any) -> None:
        self.acknowledged.pop(mid).set_result(list(codes))

    async def codes(self, mid: int) -> list[int]:
        self.acknowledged[mid] = answer = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(WAIT_S):
            return await answer

    async def subscribe(self, r: Json) -> list[int]:
        options = dict(r["options"])
        given = {
            "no_local": options.get("no_local", False),
            "retain_as_published": options.get("retain_as_published", False),
            "retain_handling_options": options.get("retain_handling", 0),
            "subscription_identifier": options.get("identifier"),
        }
        if self.version != MQTTv50:
            given = {}
        filters = [gmqtt.Subscription(name, r["qos"], **given) for name in r["filters"]]
        return await self.codes(self.gmqtt.subscribe(filters))

    async def unsubscribe(self, r: Json) -> None:
        await self.codes(self.gmqtt.unsubscribe(r["filter"]))

    async def publish(self, r: Json) -> None:
        bodies = [body_of(r)] if r["count"] is None else [b"%d" % number for number in range(r["count"])]
        told = given_properties(r["properties"])
        for body in bodies:
            self.gmqtt.publish(r["topic"], body, r["qos"], r["retain"], **told)
        if r["wait"]:
            async with asyncio.timeout(WAIT_S):
                await self.unacknowledged.wait_empty()

    async def resume(self, _r: Json) -> bool:
        self.asked_to_end = False
        return await self.connect()  # which waits until all is acknowledged

    async def end(self, code: int = 0, expiry: int | None = None) -> None:
        self.asked_to_end = True
        told = {} if expiry is None else {"session_expiry_interval": expiry}
        await self.gmqtt.disconnect(code, **told)

    async def drop(self, _r: Json) -> None:
        self.asked_to_end = True
        self.gmqtt._connection._transport.close()


async def main(version: int) -> None:
    clients: dict[str, Client] = {}

    async def carry_out(r: Json) -> Json:
        match r["op"]:
            case "connect":
                client = Client(r, version)
                present = await client.connect()
                clients[r["client"]] = client
                return present
            case "disconnect":
                return await clients.pop(r["client"]).end(r["code"], r["expiry"])
        return await getattr(clients[r["client"]], r["op"])(r)

    lines = requests()
    while (request := await asyncio.to_thread(lines.get)) is not None:
        try:
            send({"answer": await carry_out(request)})
        except Fault as fault:
            send(fault.answer)


asyncio.run(main(MQTTv50 if sys.argv[1] == "5" else MQTTv311))
