"""Drives aio-pika by the lines on its standard input; see ``tests.interop.amqp.client``."""

import asyncio
import contextlib
import re
from typing import Any

import aio_pika
from aiormq import exceptions

from tests.interop.amqp.python.lines import (
    PROPERTIES,
    Fault,
    Json,
    body_of,
    from_json,
    requests,
    send,
    shown,
    to_json,
)

CODES: dict[type[BaseException], int] = {
    exceptions.ChannelAccessRefused: 403,
    exceptions.ChannelNotFoundEntity: 404,
    exceptions.ChannelLockedResource: 405,
    exceptions.ChannelPreconditionFailed: 406,
    exceptions.ConnectionNotAllowed: 530,
    exceptions.ConnectionNotImplemented: 540,
}
"""The client's classes stand for the broker's codes."""


def fault(scope: str, error: BaseException) -> Fault:
    code = CODES.get(type(error))
    told = re.search(r"\b(\d{3})\b", repr(error))
    if code is None and isinstance(error, exceptions.ProbableAuthenticationError):
        code = 403
    if code is None and told is None:
        raise error
    return Fault(scope, code or int(told[1] if told else 0), str(error))


def shown_message(message: Any) -> Json:
    own = {name: getattr(message, name) for name in PROPERTIES}
    if own["delivery_mode"] is not None:
        own["delivery_mode"] = int(own["delivery_mode"])
    if own["expiration"] is not None:
        # The client counts in seconds.
        own["expiration"] = str(round(own["expiration"] * 1000))
    return {
        "exchange": message.exchange or "",
        "key": message.routing_key,
        "properties": {name: to_json(value) for name, value in own.items() if value is not None},
        "body": shown(message.body),
    }


class Driver:
    def __init__(self) -> None:
        self.connections: dict[str, Any] = {}
        self.channels: dict[str, Any] = {}
        self.confirming: set[str] = set()
        self.waiting = ""
        """The channel whose operation waits: what closes it is the answer, and no event."""

    async def run(self) -> None:
        lines = requests()
        while (request := await asyncio.to_thread(lines.get)) is not None:
            send(await self.answer(request))

    async def answer(self, request: Json) -> Json:
        self.waiting = request["channel"] if self.is_answered(request) else ""
        try:
            return {"answer": await getattr(self, request["op"])(request)}
        except exceptions.AMQPConnectionError as error:
            return fault("connection", error).answer
        except exceptions.InvalidFrameError as error:
            # A refused vhost: the client takes the close for a bad answer, and does not tell its code.
            if "Connection.Close" not in str(error):
                raise
            return Fault("connection", 0, str(error)).answer
        except exceptions.AMQPChannelError as error:
            return fault("channel", error).answer
        finally:
            self.waiting = ""

    def is_answered(self, r: Json) -> bool:
        """What the broker does not answer ends before a close that it brings about may come: that close is an event."""
        if r["op"] == "publish":
            return r["channel"] in self.confirming
        return "channel" in r and r["op"] not in ("ack", "nack", "reject")

    async def connect(self, r: Json) -> Json:
        query = "" if r["heartbeat"] is None else f"?heartbeat={r['heartbeat']}"
        connection = await aio_pika.connect(r["uri"] + query)
        self.connections[r["connection"]] = connection
        assert connection.transport is not None
        return to_json(connection.transport.connection.server_properties)

    async def close(self, r: Json) -> None:
        await self.connections.pop(r["connection"]).close()

    async def reset(self, r: Json) -> None:
        self.channels.clear()
        self.confirming.clear()
        for connection in self.connections.values():
            with contextlib.suppress(exceptions.AMQPError):
                await connection.close()
        self.connections.clear()

    async def channel(self, r: Json) -> None:
        name = r["channel"]
        channel = await self.connections[r["connection"]].channel(publisher_confirms=r["confirm"])
        self.channels[name] = channel
        if r["confirm"]:
            self.confirming.add(name)

        def closed(_: Any, error: BaseException | None) -> None:
            if isinstance(error, exceptions.AMQPChannelError) and self.waiting != name:
                told = fault("channel", error).answer["error"]
                send({"event": "channel_closed", "channel": name, "code": told["code"], "text": told["text"]})

        def returned(_: Any, message: Any) -> None:
            code = message.delivery.delivery.reply_code if hasattr(message, "delivery") else 312
            send({"event": "returned", "channel": name, "code": code, **shown_message(message)})

        channel.close_callbacks.add(closed)
        channel.return_callbacks.add(returned)
        raw = await channel.get_underlay_channel()
        raw.on_consumer_cancel_callbacks.add(
            lambda frame: send({"event": "cancelled", "channel": name, "tag": frame.consumer_tag})
        )

    async def raw(self, r: Json) -> Any:
        return await self.channels[r["channel"]].get_underlay_channel()

    async def close_channel(self, r: Json) -> None:
        await self.channels.pop(r["channel"]).close()

    async def exchange_declare(self, r: Json) -> None:
        await self.channels[r["channel"]].declare_exchange(
            r["exchange"],
            r["type"],
            passive=r["passive"],
            durable=r["durable"],
            auto_delete=r["auto_delete"],
            internal=r["internal"],
            arguments=from_json(r["arguments"]),
        )

    async def exchange_delete(self, r: Json) -> None:
        await self.channels[r["channel"]].exchange_delete(r["exchange"], if_unused=r["if_unused"])

    async def exchange_bind(self, r: Json) -> None:
        destination = await self.channels[r["channel"]].get_exchange(r["destination"], ensure=False)
        await destination.bind(r["source"], r["key"], arguments=from_json(r["arguments"]))

    async def exchange_unbind(self, r: Json) -> None:
        destination = await self.channels[r["channel"]].get_exchange(r["destination"], ensure=False)
        await destination.unbind(r["source"], r["key"], arguments=from_json(r["arguments"]))

    async def queue_declare(self, r: Json) -> Json:
        declared = await self.channels[r["channel"]].declare_queue(
            r["queue"] or None,
            passive=r["passive"],
            durable=r["durable"],
            exclusive=r["exclusive"],
            auto_delete=r["auto_delete"],
            arguments=from_json(r["arguments"]),
        )
        ok = declared.declaration_result
        return [ok.queue, ok.message_count, ok.consumer_count]

    async def queue(self, r: Json) -> Any:
        return await self.channels[r["channel"]].get_queue(r["queue"], ensure=False)

    async def queue_delete(self, r: Json) -> Json:
        ok = await (await self.queue(r)).delete(if_unused=r["if_unused"], if_empty=r["if_empty"])
        return ok.message_count

    async def queue_purge(self, r: Json) -> Json:
        return (await (await self.queue(r)).purge()).message_count

    async def queue_bind(self, r: Json) -> None:
        await (await self.queue(r)).bind(r["exchange"], r["key"], arguments=from_json(r["arguments"]))

    async def queue_unbind(self, r: Json) -> None:
        await (await self.queue(r)).unbind(r["exchange"], r["key"], arguments=from_json(r["arguments"]))

    async def publish(self, r: Json) -> bool | None:
        channel = self.channels[r["channel"]]
        given = from_json(r["properties"])
        if "expiration" in given:
            given["expiration"] = int(given["expiration"]) / 1000
        if r["exchange"]:
            exchange = await channel.get_exchange(r["exchange"], ensure=False)
        else:
            exchange = channel.default_exchange
        body = body_of(r)
        sent = [
            exchange.publish(aio_pika.Message(body, **given), r["key"], mandatory=r["mandatory"])
            for _ in range(r["count"])
        ]
        try:
            await asyncio.gather(*sent)
        except exceptions.DeliveryError:
            return False
        return r["channel"] in self.confirming or None

    async def qos(self, r: Json) -> None:
        await self.channels[r["channel"]].set_qos(r["count"], r["size"], r["global"])

    async def consume(self, r: Json) -> Json:
        name = r["channel"]

        def deliver(message: Any) -> None:
            send(
                {
                    "event": "delivered",
                    "channel": name,
                    "tag": message.consumer_tag,
                    "delivery": message.delivery_tag,
                    "redelivered": message.redelivered,
                    **shown_message(message),
                }
            )

        async def consumer(message: Any) -> None:
            deliver(message)

        return await (await self.queue(r)).consume(
            consumer,
            no_ack=r["no_ack"],
            exclusive=r["exclusive"],
            consumer_tag=r["tag"] or None,
            arguments=from_json(r["arguments"]),
        )

    async def cancel(self, r: Json) -> None:
        await (await self.raw(r)).basic_cancel(r["tag"])

    async def get(self, r: Json) -> Json:
        message = await (await self.queue(r)).get(no_ack=r["no_ack"], fail=False)
        if message is None:
            return None
        return {
            "delivery": message.delivery_tag,
            "redelivered": message.redelivered,
            "left": message.message_count,
            **shown_message(message),
        }

    async def ack(self, r: Json) -> None:
        await (await self.raw(r)).basic_ack(r["delivery"], r["multiple"])

    async def nack(self, r: Json) -> None:
        await (await self.raw(r)).basic_nack(r["delivery"], multiple=r["multiple"], requeue=r["requeue"])

    async def reject(self, r: Json) -> None:
        await (await self.raw(r)).basic_reject(r["delivery"], requeue=r["requeue"])

    async def recover(self, r: Json) -> None:
        await (await self.raw(r)).basic_recover(requeue=True)

    async def tx_select(self, r: Json) -> None:
        await self.channels[r["channel"]].transaction().select()

    async def tx_commit(self, r: Json) -> None:
        await (await self.raw(r)).tx_commit()

    async def tx_rollback(self, r: Json) -> None:
        await (await self.raw(r)).tx_rollback()


if __name__ == "__main__":
    asyncio.run(Driver().run())
