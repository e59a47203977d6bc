"""Policies beside arguments, and set while queues are in use: on a node of ours and on RabbitMQ."""

import asyncio
import json
from typing import Any

import pika
from pika.exceptions import NackError

from edge.core.policy import Policy
from tests.helpers.leveret import LeveretInProcess
from tests.helpers.rabbitmq import RabbitMQ

GRAVES = ("policed.grave.argument", "policed.grave.policy")
POLICIES: list[tuple[str, str, dict[str, object], str, bool]] = [
    # Name, pattern, definition, what it applies to, whether it is an operator's. In this order: RabbitMQ's take effect
    # one by one.
    (
        "policed",
        r"^policed\.(q|x)\.",
        {
            "max-length": 4,
            "overflow": "reject-publish",
            "dead-letter-exchange": "",
            "dead-letter-routing-key": GRAVES[1],
            "alternate-exchange": "amq.fanout",
        },
        "all",
        False,
    ),
    ("policed.cap", r"^policed\.q\.", {"max-length": 3, "message-ttl": 60_000}, "queues", True),
    ("policed.low", "^policed", {"max-length": 1}, "all", False),
]
PRIORITIES = {"policed.low": -1, "policed": 5, "policed.cap": 0}


class Policed:
    """Queues and exchanges on one server, declared before the policies are set."""

    def __init__(self, uri: str) -> None:
        self.connection = pika.BlockingConnection(pika.URLParameters(uri))
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()
        for name, arguments in {
            "policed.q.plain": {},
            "policed.q.short": {"x-max-length": 2, "x-overflow": "drop-head"},
            "policed.q.long": {"x-max-length": 9, "x-overflow": "drop-head"},
            "policed.q.mourned": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": GRAVES[0]},
        }.items():
            self.channel.queue_declare(name, exclusive=True, arguments=arguments)
            # No more than the policy lets stay: RabbitMQ drops the surplus before it sees that the overflow is another.
            self.publish(name, 4)
        for name in GRAVES:
            self.channel.queue_declare(name, exclusive=True)
        for name, arguments in {
            "policed.x.plain": {},
            "policed.x.own": {"alternate-exchange": "amq.direct"},
        }.items():
            self.channel.exchange_declare(name, "direct", auto_delete=True, arguments=arguments)

    def publish(self, queue: str, count: int) -> list[int]:
        """Which of so many were confirmed."""
        confirmed = []
        for i in range(count):
            try:
                self.channel.basic_publish("", queue, b"%d" % i)
            except NackError:
                continue
            confirmed.append(i)
        return confirmed

    def drain(self, queue: str) -> list[int]:
        found = []
        while (one := self.channel.basic_get(queue, auto_ack=True))[0] is not None:
            found.append(int(one[2]))
        return found

    def look(self) -> dict[str, Any]:
        """What is left of what was there, what is taken from now on, and where the dead and the unroutable go."""
        found: dict[str, Any] = {}
        for name in ("plain", "short", "long", "mourned"):
            queue = f"policed.q.{name}"
            self.connection.process_data_events(0.05)
            found[name] = [self.drain(queue), self.publish(queue, 6), self.drain(queue)]
            self.channel.basic_publish("", queue, b"1")
            method, _, _ = self.channel.basic_get(queue)
            self.channel.basic_reject(method.delivery_tag, requeue=False)
            # RabbitMQ's queue answers after it has let go of the rejected message.
            assert self.drain(queue) == []
            found[f"{name} dead"] = [self.drain(grave) for grave in GRAVES]
        for name in ("plain", "own"):
            queues = {
                exchange: self.channel.queue_declare("", exclusive=True).method.queue
                for exchange in ("amq.fanout", "amq.direct")
            }
            for exchange, queue in queues.items():
                self.channel.queue_bind(queue, exchange, "1")
            self.channel.basic_publish(f"policed.x.{name}", "1", b"1")
            found[f"alternate of {name}"] = [self.drain(queue) for queue in queues.values()]
            for queue in queues.values():
                self.channel.queue_delete(queue)
        return found

    def close(self) -> None:
        for name in ("policed.x.plain", "policed.x.own"):
            self.channel.exchange_delete(name)
        self.connection.close()


def set_policies(rabbitmq: RabbitMQ) -> None:
    """In one call of rabbitmqctl, which takes two seconds."""
    calls = []
    for name, pattern, definition, applies, operator in POLICIES:
        texts = [f"<<{json.dumps(text)}>>" for text in (name, pattern, json.dumps(definition))]
        function = "parse_set_op" if operator else "parse_set"
        more = f'<<"{PRIORITIES[name]}">>, <<"{applies}">>, <<"guest">>'
        calls.append(f'ok = rabbit_policy:{function}(<<"/">>, {", ".join(texts)}, {more})')
    rabbitmq.ctl("eval", ", ".join(calls) + ".")


def clear_policies(rabbitmq: RabbitMQ) -> None:
    calls = [
        f'rabbit_policy:{"delete_op" if operator else "delete"}(<<"/">>, <<"{name}">>, <<"guest">>)'
        for name, _, _, _, operator in POLICIES
    ]
    rabbitmq.ctl("eval", ", ".join(calls) + ".")


def at_rabbitmq(rabbitmq: RabbitMQ) -> list[dict[str, Any]]:
    policed = Policed(rabbitmq.uri())
    set_policies(rabbitmq)
    found = [policed.look()]
    clear_policies(rabbitmq)
    found.append(policed.look())
    policed.close()
    return found


async def at_ours(node: LeveretInProcess) -> list[dict[str, Any]]:
    broker = node.node.broker
    policed = await asyncio.to_thread(Policed, node.uri())
    broker.set_policy(
        *[
            Policy(
                "/",
                name,
                pattern,
                definition,
                apply_to=applies,
                priority=PRIORITIES[name],
                operator=operator,
            )
            for name, pattern, definition, applies, operator in POLICIES
        ]
    )
    found = [await asyncio.to_thread(policed.look)]
    for name, _, _, _, operator in POLICIES:
        broker.delete_policy("/", name, operator=operator)
    found.append(await asyncio.to_thread(policed.look))
    await asyncio.to_thread(policed.close)
    return found


async def test_policies_say_the_same_as_at_rabbitmq(edge_node: LeveretInProcess, rabbitmq: RabbitMQ) -> None:
    theirs = await asyncio.to_thread(at_rabbitmq, rabbitmq)
    ours = await at_ours(edge_node)
    assert ours == theirs
    assert ours[0]["plain"] == [[0, 1, 2, 3], [0, 1, 2], [0, 1, 2]]
