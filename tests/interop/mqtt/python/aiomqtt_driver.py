"""Drives aiomqtt, of the version of MQTT given, by the lines on its standard input; see ``mqtt.client``."""

import asyncio
import contextlib
import socket
import sys
from typing import Any
from urllib.parse import urlsplit

import aiomqtt
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
UNSPECIFIED = 0x80
"""What the client shows of a connection that ended without a word."""


class Client:
    def __init__(self, r: Json, version: aiomqtt.ProtocolVersion) -> None:
        uri, will = urlsplit(r["uri"]), r["will"]
        v5 = version == aiomqtt.ProtocolVersion.V5
        options: Json = {"clean_session": r["clean"]}
        if v5:
            session = properties(PacketTypes.CONNECT, version, SessionExpiryInterval=r["expiry"])
            options = {"clean_start": r["clean"], "properties": session}
        if will is not None:
            fields = (will["topic"], will["body"], will["qos"], will["retain"])
            options["will"] = aiomqtt.Will(*fields, will_properties(will, version))
        self.version = version
        self.name = r["client"]
        self.connacks: asyncio.Queue[bool] = asyncio.Queue()
        self.aiomqtt = aiomqtt.Client(
            str(uri.hostname),
            uri.port or 1883,
            username=r["username"],
            password=r["password"],
            identifier=r["client_id"],
            protocol=version,
            timeout=WAIT_S,
            socket_options=[NO_DELAY],
            **options,
        )
        self.receiving: asyncio.Task[None] | None = None
        self.publishing: list[asyncio.Task[None]] = []

    async def connect(self) -> bool:
        paho = self.aiomqtt._client
        on_connect = paho.on_connect

        def note_session(client: Any, data: Any, flags: Any, *rest: Any) -> None:
            # The client does not tell it.
            self.connacks.put_nowait(flags.session_present)
            on_connect(client, data, flags, *rest)

        paho.on_connect = note_session
        return await self.enter()

    async def enter(self) -> bool:
        try:
            await self.aiomqtt.__aenter__()
        except aiomqtt.exceptions.MqttConnectError as error:
            code: Any = error.rc
            raise Fault("connect", refused_code(code.value, self.version), str(error)) from None
        self.receiving = asyncio.create_task(self.receive())
        return await self.connacks.get()

    async def receive(self) -> None:
        try:
            async for message in self.aiomqtt.messages:
                line = {
                    "topic": message.topic.value,
                    "body": shown(bytes(message.payload)),
                    "qos": message.qos,
                    "retain": message.retain,
                    "properties": shown_properties(message.properties),
                }
                send({"event": "message", "client": self.name, "dup": None, **line})
        except aiomqtt.MqttError as error:
            rc = getattr(error.__cause__, "rc", None)
            code = rc.value if isinstance(rc, ReasonCode) and rc.value != UNSPECIFIED else None
            send({"event": "closed", "client": self.name, "code": code})

    async def subscribe(self, r: Json) -> list[int]:
        filters, kept = subscription(r, self.version)
        granted = await self.aiomqtt.subscribe(filters, properties=kept)
        return [code.value if isinstance(code, ReasonCode) else code for code in granted]

    async def unsubscribe(self, r: Json) -> None:
        await self.aiomqtt.unsubscribe(r["filter"])

    async def publish(self, r: Json) -> None:
        bodies = [body_of(r)] if r["count"] is None else [b"%d" % number for number in range(r["count"])]
        told = properties(PacketTypes.PUBLISH, self.version, **given_properties(r["properties"]))
        fields = {"qos": r["qos"], "retain": r["retain"], "properties": told}
        sent = [self.aiomqtt.publish(r["topic"], body, **fields) for body in bodies]
        self.publishing += [asyncio.create_task(each) for each in sent]
        if r["wait"]:
            await self.wait_for_all()
        else:
            await asyncio.sleep(0)  # each begins

    async def wait_for_all(self) -> None:
        await asyncio.gather(*self.publishing)
        self.publishing.clear()

    async def resume(self, _r: Json) -> bool:
        await self.aiomqtt.__aexit__(None, None, None)
        present = await self.enter()
        await self.wait_for_all()
        return present

    async def end(self) -> None:
        assert self.receiving is not None
        self.receiving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.receiving
        await self.aiomqtt.__aexit__(None, None, None)

    async def drop(self, _r: Json) -> None:
        assert self.receiving is not None
        self.receiving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.receiving
        sock = self.aiomqtt._client.socket()
        assert isinstance(sock, socket.socket)
        sock.shutdown(socket.SHUT_RDWR)
        await asyncio.wait([self.aiomqtt._disconnected])


async def main(version: aiomqtt.ProtocolVersion) -> None:
    clients: dict[str, Client] = {}

    async def carry_out(r: Json) -> Json:
        match r["op"]:
            case "connect":
                client = Client(r, version)
                present = await client.connect()
                clients[r["client"]] = client
                return present
            case "disconnect":
                return await clients.pop(r["client"]).end()
        return await getattr(clients[r["client"]], r["op"])(r)

    lines = requests()
    while (request := await asyncio.to_thread(lines.get)) is not None:
        try:
            send({"answer": await carry_out(request)})
        except Fault as fault:
            send(fault.answer)


asyncio.run(main(aiomqtt.ProtocolVersion.V5 if sys.argv[1] == "5" else aiomqtt.ProtocolVersion.V311))
