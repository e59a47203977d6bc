"""Drives pika's blocking adapter by the lines on its standard input; see ``tests.interop.amqp.client``."""

import contextlib
import datetime
import queue
import re
from typing import Any

import pika
from pika import exceptions

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


def message(method: Any, properties: Any, body: bytes) -> Json:
    given = {name: getattr(properties, name) for name in PROPERTIES}
    if given["timestamp"] is not None:
        given["timestamp"] = datetime.datetime.fromtimestamp(given["timestamp"], datetime.UTC)
    return {
        "exchange": method.exchange,
        "key": method.routing_key,
        "properties": {name: to_json(value) for name, value in given.items() if value is not None},
        "body": shown(body),
    }


class Driver:
    def __init__(self) -> None:
        self.connections: dict[str, Any] = {}
        self.channels: dict[str, Any] = {}

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
            self.poll()

    def poll(self) -> None:
        """Hand on what the broker has sent; show what it has closed."""
        for name, connection in list(self.connections.items()):
            if connection.is_closed:  # for an operation, whose answer was the error
                del self.connections[name]
                continue
            try:
                connection.process_data_events(0)
            except exceptions.ConnectionClosedByBroker as error:
                del self.connections[name]
                send(
                    {
                        "event": "connection_closed",
                        "connection": name,
                        "code": error.reply_code,
                        "text": error.reply_text,
                    }
                )
        for name, channel in list(self.channels.items()):
            if channel.is_closed:
                del self.channels[name]
                reason = channel._closing_reason
                if isinstance(reason, exceptions.ChannelClosedByBroker):
                    code, text = reason.reply_code, reason.reply_text
                    send({"event": "channel_closed", "channel": name, "code": code, "text": text})

    def answer(self, request: Json) -> Json:
        try:
            return {"answer": getattr(self, request["op"])(request)}
        except exceptions.ChannelClosedByBroker as error:
            self.channels.pop(request["channel"])
            return Fault("channel", error.reply_code, error.reply_text).answer
        except exceptions.ConnectionClosedByBroker as error:
            return Fault("connection", error.reply_code, error.reply_text).answer
        except exceptions.AMQPConnectionError as error:
            # A login's refusal is told as an exception's text.
            code = re.search(r"\((\d+)\)", str(error))
            if code is None:
                raise
            return Fault("connection", int(code[1]), str(error)).answer

    def connect(self, r: Json) -> Json:
        parameters = pika.URLParameters(r["uri"])
        if r["heartbeat"] is not None:
            parameters.heartbeat = r["heartbeat"]
        connection = pika.BlockingConnection(parameters)
        self.connections[r["connection"]] = connection
        return to_json(connection._impl.server_properties)

    def close(self, r: Json) -> None:
        self.connections.pop(r["connection"]).close()

    def reset(self, r: Json) -> None:
        self.channels.clear()
        for connection in self.connections.values():
            with contextlib.suppress(exceptions.AMQPError):
                connection.close()
        self.connections.clear()

    def channel(self, r: Json) -> None:
        name = r["channel"]
        channel = self.connections[r["connection"]].channel()
        self.channels[name] = channel
        channel.add_on_cancel_callback(
            lambda frame: send({"event": "cancelled", "channel": name, "tag": frame.method.consumer_tag})
        )
        channel.add_on_return_callback(lambda _, *parts: self.returned(name, *parts))
        if r["confirm"]:
            channel.confirm_delivery()

    def returned(self, name: str, method: Any, properties: Any, body: bytes) -> None:
        returned = message(method, properties, body)
        send({"event": "returned", "channel": name, "code": method.reply_code, **returned})

    def close_channel(self, r: Json) -> None:
        self.channels.pop(r["channel"]).close()

    def exchange_declare(self, r: Json) -> None:
        self.channels[r["channel"]].exchange_declare(
            r["exchange"],
            exchange_type=r["type"],
            passive=r["passive"],
            durable=r["durable"],
            auto_delete=r["auto_delete"],
            internal=r["internal"],
            arguments=from_json(r["arguments"]),
        )

    def exchange_delete(self, r: Json) -> None:
        self.channels[r["channel"]].exchange_delete(r["exchange"], if_unused=r["if_unused"])

    def exchange_bind(self, r: Json) -> None:
        arguments = from_json(r["arguments"])
        self.channels[r["channel"]].exchange_bind(r["destination"], r["source"], r["key"], arguments)

    def exchange_unbind(self, r: Json) -> None:
        arguments = from_json(r["arguments"])
        self.channels[r["channel"]].exchange_unbind(r["destination"], r["source"], r["key"], arguments)

    def queue_declare(self, r: Json) -> Json:
        ok = self.channels[r["channel"]].queue_declare(
            r["queue"],
            passive=r["passive"],
            durable=r["durable"],
            exclusive=r["exclusive"],
            auto_delete=r["auto_delete"],
            arguments=from_json(r["arguments"]),
        )
        return [ok.method.queue, ok.method.message_count, ok.method.consumer_count]

    def queue_delete(self, r: Json) -> int:
        ok = self.channels[r["channel"]].queue_delete(r["queue"], r["if_unused"], r["if_empty"])
        return int(ok.method.message_count)

    def queue_purge(self, r: Json) -> int:
        return int(self.channels[r["channel"]].queue_purge(r["queue"]).method.message_count)

    def queue_bind(self, r: Json) -> None:
        arguments = from_json(r["arguments"])
        self.channels[r["channel"]].queue_bind(r["queue"], r["exchange"], r["key"], arguments)

    def queue_unbind(self, r: Json) -> None:
        arguments = from_json(r["arguments"])
        self.channels[r["channel"]].queue_unbind(r["queue"], r["exchange"], r["key"], arguments)

    def publish(self, r: Json) -> bool | None:
        channel = self.channels[r["channel"]]
        given = from_json(r["properties"])
        if "timestamp" in given:
            given["timestamp"] = int(given["timestamp"].timestamp())
        properties, body = pika.BasicProperties(**given), body_of(r)
        try:
            for _ in range(r["count"]):
                channel.basic_publish(r["exchange"], r["key"], body, properties, r["mandatory"])
        except exceptions.UnroutableError as error:
            for back in error.messages:
                self.returned(r["channel"], back.method, back.properties, back.body)
        except exceptions.NackError:
            return False
        return channel._delivery_confirmation or None

    def qos(self, r: Json) -> None:
        self.channels[r["channel"]].basic_qos(r["size"], r["count"], r["global"])

    def consume(self, r: Json) -> str:
        name = r["channel"]

        def deliver(_: Any, method: Any, properties: Any, body: bytes) -> None:
            send(
                {
                    "event": "delivered",
                    "channel": name,
                    "tag": method.consumer_tag,
                    "delivery": method.delivery_tag,
                    "redelivered": method.redelivered,
                    **message(method, properties, body),
                }
            )

        return str(
            self.channels[name].basic_consume(
                r["queue"],
                deliver,
                auto_ack=r["no_ack"],
                exclusive=r["exclusive"],
                consumer_tag=r["tag"] or None,
                arguments=from_json(r["arguments"]),
            )
        )

    def cancel(self, r: Json) -> None:
        self.channels[r["channel"]].basic_cancel(r["tag"])

    def get(self, r: Json) -> Json:
        method, properties, body = self.channels[r["channel"]].basic_get(r["queue"], r["no_ack"])
        if method is None:
            return None
        return {
            "delivery": method.delivery_tag,
            "redelivered": method.redelivered,
            "left": method.message_count,
            **message(method, properties, body),
        }

    def ack(self, r: Json) -> None:
        self.channels[r["channel"]].basic_ack(r["delivery"], r["multiple"])

    def nack(self, r: Json) -> None:
        self.channels[r["channel"]].basic_nack(r["delivery"], r["multiple"], r["requeue"])

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
