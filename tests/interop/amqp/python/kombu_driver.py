"""Drives kombu, over py-amqp, by the lines on its standard input; see ``tests.interop.amqp.client``."""

import contextlib
import datetime
import queue
from typing import Any

import kombu
from amqp import Message, exceptions, spec

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

POLL_S = 0.01
OWN_NAMES = {"headers": "application_headers"}


def shown_message(message: Any) -> Json:
    """A message of py-amqp, or of kombu, which adds names to it."""
    raw = message.properties
    own = {name: raw.get(OWN_NAMES.get(name, name)) for name in PROPERTIES}
    info = message.delivery_info
    if own["timestamp"] is not None and not isinstance(own["timestamp"], datetime.datetime):
        own["timestamp"] = datetime.datetime.fromtimestamp(own["timestamp"], datetime.UTC)
    body = message.body
    return {
        "exchange": info.get("exchange"),
        "key": info.get("routing_key"),
        "properties": {name: to_json(value) for name, value in own.items() if value is not None},
        "body": shown(body.encode() if isinstance(body, str) else bytes(body)),
    }


class Driver:
    def __init__(self) -> None:
        self.connections: dict[str, Any] = {}
        self.channels: dict[str, Any] = {}
        self.confirming: set[str] = set()
        self.closed = ""
        """The channel that the broker has closed last: the errors do not say which."""

    def run(self) -> None:
        lines = requests()
        while True:
            try:
                request = lines.get(timeout=POLL_S)
            except queue.Empty:
                self.poll()
                continue
            if request is None:
                return
            send(self.answer(request))

    def poll(self) -> None:
        """Hand on what the broker has sent; show what it has closed."""
        for name, connection in list(self.connections.items()):
            try:
                while True:
                    connection.drain_events(timeout=0.001)
            except TimeoutError:
                pass
            except exceptions.ChannelError as error:
                self.lost_channel(error)
            except exceptions.ConnectionError as error:
                del self.connections[name]
                code, text = error.reply_code, error.reply_text
                send({"event": "connection_closed", "connection": name, "code": code, "text": text})
            else:
                continue
            if connection.heartbeat and name in self.connections:
                connection.heartbeat_check()

    def lost_channel(self, error: Any) -> None:
        del self.channels[self.closed]
        code, text = error.reply_code, error.reply_text
        send({"event": "channel_closed", "channel": self.closed, "code": code, "text": text})

    def answer(self, request: Json) -> Json:
        try:
            return {"answer": getattr(self, request["op"])(request)}
        except exceptions.ChannelError as error:
            self.channels.pop(request.get("channel"), None)
            return Fault(
                "connection" if request["op"] == "connect" else "channel", error.reply_code, error.reply_text
            ).answer
        except exceptions.ConnectionError as error:
            for name in [name for name, each in self.connections.items() if not each.connected]:
                del self.connections[name]
            return Fault("connection", error.reply_code, error.reply_text).answer

    def connect(self, r: Json) -> Json:
        connection = kombu.Connection(
            r["uri"].replace("amqp://", "pyamqp://"),
            heartbeat=r["heartbeat"] or 0,
            transport_options={"confirm_publish": True},
        )
        connection.connect()
        self.connections[r["connection"]] = connection
        return to_json(connection.connection.server_properties)

    def close(self, r: Json) -> None:
        self.connections.pop(r["connection"]).release()

    def reset(self, r: Json) -> None:
        self.channels.clear()
        self.confirming.clear()
        for connection in self.connections.values():
            with contextlib.suppress(exceptions.AMQPError, OSError):
                connection.release()
        self.connections.clear()

    def channel(self, r: Json) -> None:
        name = r["channel"]
        connection = self.connections[r["connection"]]
        channel = connection.channel()
        self.channels[name] = channel
        if r["confirm"]:
            self.confirming.add(name)
            channel.confirm_select()
        else:
            # With confirm_publish the connection's channels publish in confirm mode: not this one.
            channel.basic_publish = channel._basic_publish
        on_close = channel._on_close

        def note_close(*arguments: Any) -> None:
            self.closed = name
            on_close(*arguments)

        channel._callbacks[spec.Channel.Close] = note_close
        channel.events["basic_return"].add(lambda *parts: self.returned(name, *parts))

    def returned(self, name: str, error: Any, exchange: str, key: str, message: Any) -> None:
        message.delivery_info = {"exchange": exchange, "routing_key": key}
        shown_back = shown_message(message)
        send({"event": "returned", "channel": name, "code": error.reply_code, **shown_back})

    def close_channel(self, r: Json) -> None:
        self.channels.pop(r["channel"]).close()

    def exchange_declare(self, r: Json) -> None:
        self.channels[r["channel"]].exchange_declare(
            r["exchange"],
            r["type"],
            passive=r["passive"],
            durable=r["durable"],
            auto_delete=r["auto_delete"],
            arguments=from_json(r["arguments"]),
        )

    def exchange_delete(self, r: Json) -> None:
        self.channels[r["channel"]].exchange_delete(r["exchange"], if_unused=r["if_unused"])

    def exchange_bind(self, r: Json) -> None:
        exchange = kombu.Exchange(r["destination"], channel=self.channels[r["channel"]])
        exchange.bind_to(r["source"], r["key"], from_json(r["arguments"]))

    def exchange_unbind(self, r: Json) -> None:
        exchange = kombu.Exchange(r["destination"], channel=self.channels[r["channel"]])
        exchange.unbind_from(r["source"], r["key"], arguments=from_json(r["arguments"]))

    def queue_declare(self, r: Json) -> Json:
        ok = self.channels[r["channel"]].queue_declare(
            r["queue"],
            passive=r["passive"],
            durable=r["durable"],
            exclusive=r["exclusive"],
            auto_delete=r["auto_delete"],
            arguments=from_json(r["arguments"]),
        )
        return [ok.queue, ok.message_count, ok.consumer_count]

    def queue_delete(self, r: Json) -> Json:
        return self.channels[r["channel"]].queue_delete(r["queue"], r["if_unused"], r["if_empty"])

    def queue_purge(self, r: Json) -> Json:
        return self.channels[r["channel"]].queue_purge(r["queue"])

    def queue_bind(self, r: Json) -> None:
        bound = kombu.Queue(r["queue"], channel=self.channels[r["channel"]])
        bound.bind_to(r["exchange"], r["key"], from_json(r["arguments"]))

    def queue_unbind(self, r: Json) -> None:
        arguments = from_json(r["arguments"])
        self.channels[r["channel"]].queue_unbind(r["queue"], r["exchange"], r["key"], arguments=arguments)

    def publish(self, r: Json) -> bool | None:
        channel = self.channels[r["channel"]]
        given, body = from_json(r["properties"]), body_of(r)
        if "headers" in given:
            given["application_headers"] = given.pop("headers")
        if "timestamp" in given:
            given["timestamp"] = int(given["timestamp"].timestamp())
        try:
            for _ in range(r["count"]):
                message = Message(body, **given)
                channel.basic_publish(message, r["exchange"], r["key"], mandatory=r["mandatory"])
        except exceptions.MessageNacked:
            return False
        return r["channel"] in self.confirming or None

    def qos(self, r: Json) -> None:
        self.channels[r["channel"]].basic_qos(r["size"], r["count"], r["global"])

    def consume(self, r: Json) -> Json:
        name = r["channel"]

        def deliver(message: Any) -> None:
            info = message.delivery_info
            send(
                {
                    "event": "delivered",
                    "channel": name,
                    "tag": info["consumer_tag"],
                    "delivery": info["delivery_tag"],
                    "redelivered": info["redelivered"],
                    **shown_message(message),
                }
            )

        return self.channels[name].basic_consume(
            r["queue"],
            r["tag"],
            no_ack=r["no_ack"],
            exclusive=r["exclusive"],
            callback=deliver,
            arguments=from_json(r["arguments"]),
            on_cancel=lambda gone: send({"event": "cancelled", "channel": name, "tag": gone}),
        )

    def cancel(self, r: Json) -> None:
        self.channels[r["channel"]].basic_cancel(r["tag"])

    def get(self, r: Json) -> Json:
        message = self.channels[r["channel"]].basic_get(r["queue"], no_ack=r["no_ack"])
        if message is None:
            return None
        info = message.delivery_info
        return {
            "delivery": info["delivery_tag"],
            "redelivered": info["redelivered"],
            "left": info["message_count"],
            **shown_message(message),
        }

    def ack(self, r: Json) -> None:
        self.channels[r["channel"]].basic_ack(r["delivery"], r["multiple"])

    def reject(self, r: Json) -> None:
        self.channels[r["channel"]].basic_reject(r["delivery"], r["requeue"])

    def recover(self, r: Json) -> None:
        self.channels[r["channel"]].basic_recover(requeue=True)

    def tx_select(self, r: Json) -> None:
        self.channels[r["channel"]].tx_select()

    def tx_commit(self, r: Json) -> None:
        self.channels[r["channel"]].tx_commit()

    def tx_rollback(self, r: Json) -> None:
        self.channels[r["channel"]].tx_rollback()


if __name__ == "__main__":
    Driver().run()
