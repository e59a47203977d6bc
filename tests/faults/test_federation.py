"""Two nodes, an exchange federated through a link that fails, both killed: once, in order, nothing lost."""

import random
import threading
import time
from collections.abc import Callable

import pika
import pytest

from tests.helpers.leveret import LeveretProcess
from tests.helpers.ports import wait_until
from tests.helpers.rabbitmq import RabbitMQ
from tests.helpers.toxiproxy import Link

FAULTS: tuple[tuple[str, dict[str, int]], ...] = (
    ("down", {}),
    ("latency", {"latency": 60, "jitter": 30}),
    ("slicer", {"average_size": 50, "size_variation": 20, "delay": 100}),
    ("reset_peer", {"timeout": 20}),
    ("timeout", {"timeout": 200}),
    ("limit_data", {"bytes": 15_000}),
    ("bandwidth", {"rate": 60}),
)
EXCHANGE, QUEUE = "fleet", "arrived"


def federation(uri: str) -> str:
    return (
        f'[[federation-upstream]]\nname = "base"\nuri = "{uri}?heartbeat=2"\nreconnect-delay = 0.1\n'
        '[[policy]]\nname = "fed"\npattern = "^fleet$"\napply-to = "exchanges"\n'
        'definition = { federation-upstream-set = "all" }\n'
    )


def declare(node: LeveretProcess) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(node.uri()))
    channel = connection.channel()
    channel.exchange_declare(EXCHANGE, "topic", durable=True)
    channel.queue_declare(QUEUE, durable=True)
    channel.queue_bind(QUEUE, EXCHANGE, "drone.#")
    connection.close()


class Publisher(threading.Thread):
    """Publishes numbers in order with confirms, and each again until confirmed; a body tells number and attempt."""

    def __init__(self, node: LeveretProcess) -> None:
        super().__init__(name="publisher")
        self.confirmed = 0
        self.ends = threading.Event()
        self._node = node
        self._attempt = 0

    def run(self) -> None:
        while not self.ends.is_set():
            try:
                self._publish()
            except (pika.exceptions.AMQPError, OSError):
                time.sleep(0.05)

    def _publish(self) -> None:
        parameters = pika.URLParameters(self._node.uri())
        parameters.socket_timeout = parameters.blocked_connection_timeout = 3
        connection = pika.BlockingConnection(parameters)
        channel = connection.channel()
        channel.confirm_delivery()
        while not self.ends.is_set():
            self._attempt += 1
            body = f"{self.confirmed}:{self._attempt}".encode()
            channel.basic_publish(EXCHANGE, "drone.1", body, pika.BasicProperties(delivery_mode=2))
            self.confirmed += 1
        connection.close()


def read_all(node: LeveretProcess, until_number: int) -> list[str]:
    connection = pika.BlockingConnection(pika.URLParameters(node.uri()))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=1000)
    bodies: list[str] = []
    deadline_s = time.monotonic() + 30
    for _, _, body in channel.consume(QUEUE, auto_ack=True, inactivity_timeout=0.5):
        if body is not None:
            bodies.append(body.decode())
        elif bodies and int(bodies[-1].partition(":")[0]) >= until_number:
            break
        assert time.monotonic() < deadline_s, (
            f"{len(bodies)} arrived, the last {bodies[-1:]} of {until_number}"
        )
    connection.close()
    return bodies


def check(bodies: list[str], confirmed: int) -> None:
    assert len(set(bodies)) == len(bodies), "a message arrived twice"
    numbers = list(dict.fromkeys(int(body.partition(":")[0]) for body in bodies))
    assert numbers[:confirmed] == list(range(confirmed))


@pytest.mark.timeout(90)
def test_messages_arrive_once_and_in_order_across_faults_and_kills_of_both(
    make_leveret: Callable[..., LeveretProcess], make_link: Callable[[int], Link], rng: random.Random
) -> None:
    base = make_leveret(name="base")
    link = make_link(base.ports.amqp)
    edge = make_leveret(federation(base.uri(port=link.port)), name="edge")
    declare(edge)
    wait_until(lambda: "runs to" in edge.log_text(), what="the link")
    publisher = Publisher(base)
    publisher.start()
    try:
        kills = [edge, base, edge, base]
        faults = rng.sample(FAULTS, len(FAULTS))
        for i, (kind, attributes) in enumerate(faults):
            if kind == "down":
                link.cut()
            else:
                link.add(kind, rng.choice(("upstream", "downstream")), **attributes)
            time.sleep(rng.uniform(0.2, 0.6))
            if i < len(kills):
                kills[i].kill()
                time.sleep(rng.uniform(0.0, 0.2))
                kills[i].start()
            link.heal()
            time.sleep(rng.uniform(0.2, 0.6))
    finally:
        publisher.ends.set()
        publisher.join()
    assert publisher.confirmed > 100
    bodies = read_all(edge, publisher.confirmed - 1)
    print(f"{publisher.confirmed} confirmed, {len(bodies)} arrived")
    check(bodies, publisher.confirmed)


@pytest.mark.timeout(60)
def test_what_was_published_while_the_downstream_was_away_arrives_when_it_is_back(
    make_leveret: Callable[..., LeveretProcess], make_link: Callable[[int], Link]
) -> None:
    base = make_leveret(name="base")
    link = make_link(base.ports.amqp)
    edge = make_leveret(federation(base.uri(port=link.port)), name="edge")
    declare(edge)
    wait_until(lambda: "runs to" in edge.log_text(), what="the link")
    edge.kill()
    publisher = Publisher(base)
    publisher.start()
    wait_until(lambda: publisher.confirmed > 500, what="500 messages")
    publisher.ends.set()
    publisher.join()
    base.kill()
    base.start()
    edge.start()
    check(read_all(edge, publisher.confirmed - 1), publisher.confirmed)


@pytest.mark.timeout(60)
def test_a_rabbitmq_without_the_federation_plugin_can_be_upstream(
    make_leveret: Callable[..., LeveretProcess], make_link: Callable[[int], Link], rabbitmq: RabbitMQ
) -> None:
    """It knows no x-federation-upstream (503), so a fanout exchange takes its place; at least once."""
    link = make_link(rabbitmq.amqp_port)
    edge = make_leveret(federation(rabbitmq.uri(port=link.port)), name="edge")
    declare(edge)
    wait_until(lambda: "runs to" in edge.log_text(), what="the link")
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq.uri()))
    channel = connection.channel()
    channel.confirm_delivery()
    properties = pika.BasicProperties(delivery_mode=2)
    for number in range(200):
        if number == 100:
            link.cut()
        channel.basic_publish(EXCHANGE, "drone.1", f"{number}:0".encode(), properties, mandatory=True)
    link.restore()
    numbers = [int(body.partition(":")[0]) for body in read_all(edge, 199)]
    assert list(dict.fromkeys(numbers)) == list(range(200))
    channel.queue_delete("federation: fleet -> edge")
    connection.close()
