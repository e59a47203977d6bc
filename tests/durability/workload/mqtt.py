"""MQTT: persistent sessions with flows of QoS 1 and 2 open in both directions, retained messages, lost connections."""

import asyncio
from collections.abc import Callable
from functools import partial

from edge.core.message import QOS2
from mqtt import constants as c
from mqtt import encode
from mqtt.packets import AckRun, Connack, Connect, PublishRun, Suback, Subscribe, Subscription
from tests.durability.bodies import Key, body_of, key_of
from tests.durability.flows import COMPLETE, COMPLETING, GOT, RECEIVED, RECORDING, RELEASED, RELEASING
from tests.durability.workload.context import Context
from tests.helpers.leveret import Ports
from tests.helpers.mqtt_node import RawClient

NODE = "a"
SUBSCRIBERS = {"both": ("a/#", 2), "once": ("a/#", 1), "away": ("a/b/#", 2)}
"""Client -> topic filter and QoS; "away" never comes back for what it is sent."""
TOPICS = {"a/x": ["both", "once"], "a/b/y": ["both", "once", "away"]}
"""Topic -> who gets it."""
WINDOW = 20


def queue_of(client: str) -> str:
    return f"mqtt-subscription-{client}qos1"


async def connect(port: int, client_id: str) -> RawClient:
    """A client with a session that stays."""
    client = RawClient(*await asyncio.open_connection("127.0.0.1", port))
    client.send(client.machine.connect(Connect(c.V311, client_id, clean_start=False)))
    client.connack = await client.expect(Connack)
    return client


class Publisher:
    """Publishes at QoS 1 and 2 with several flows open at a time."""

    def __init__(self, context: Context, name: str, port: int) -> None:
        self.context = context
        self.name = context.publisher(name)
        self.port = port
        self._number = 0
        #: Packet id -> number and QoS.
        self._open: dict[int, tuple[int, int]] = {}
        self._progress = asyncio.Event()

    async def run(self) -> None:
        context = self.context
        await context.declared(NODE, "session", self.name, self._connect())
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read())
            while True:
                await context.wait(0.006)
                while len(self._open) >= WINDOW:
                    self._progress.clear()
                    await self._progress.wait()
                for _ in range(context.rng.choice((1, 1, 4))):
                    self._publish()

    async def _connect(self) -> None:
        self._client = await connect(self.port, self.name)

    def _publish(self) -> None:
        marks, rng = self.context.marks, self.context.rng
        topic = rng.choice(list(TOPICS))
        qos = rng.choice((1, 2, 2))
        self._number += 1
        packet_id = self._client.next_id()
        self._open[packet_id] = self._number, qos
        marks.note("send", publisher=self.name, numbers=[self._number], places=TOPICS[topic])
        if qos == 2:
            marks.note(
                "in_sent", client=self.name, packet_id=packet_id, publisher=self.name, number=self._number
            )
        self._client.publish(topic, body_of(self.name, self._number), qos, packet_id=packet_id)

    async def _read(self) -> None:
        while True:
            event = await self._client._event()
            assert isinstance(event, AckRun), event
            (packet_id,) = event.packet_ids
            number, _ = self._open[packet_id]
            if event.kind != c.PUBCOMP:
                self.context.marks.note("confirm", publisher=self.name, numbers=[number])
            if event.kind == c.PUBREC:
                self._step(packet_id, RECEIVED)
                # Not at once, so that some are always open.
                loop = asyncio.get_running_loop()
                loop.call_later(self.context.rng.choice((0, 0.005, 0.05)), self._release, packet_id)
                continue
            if event.kind == c.PUBCOMP:
                self._step(packet_id, COMPLETE)
            del self._open[packet_id]
            self._progress.set()

    def _release(self, packet_id: int) -> None:
        self._step(packet_id, RELEASING)
        self._client.ack(c.PUBREL, packet_id)

    def _step(self, packet_id: int, step: str) -> None:
        self.context.marks.note("in_step", client=self.name, packet_id=packet_id, step=step)


class Subscriber:
    """Receives with flows of QoS 2 open, loses its connection now and then, and goes on where it was."""

    def __init__(self, context: Context, name: str, port: int) -> None:
        self.context = context
        self.name = name
        self.port = port
        #: Packet id -> step and message of a flow. A client keeps this on its own disk; here the marks are that.
        self._flows: dict[int, tuple[str, Key]] = {
            packet_id: flow for (client, packet_id), flow in context.flows.items() if client == name
        }
        self._client: RawClient

    async def subscribe(self) -> None:
        context, (topic_filter, qos) = self.context, SUBSCRIBERS[self.name]
        queues = [(NODE, queue_of(self.name))]
        context.marks.note("place", name=self.name, queues=queues, is_exact=qos == 2)
        await context.declared(NODE, "session", self.name, self._connect())
        subscription = f"{self.name} {topic_filter} {qos}"
        await context.declared(NODE, "subscription", subscription, self._subscribe(topic_filter, qos))

    async def _connect(self) -> None:
        self._client = await connect(self.port, self.name)

    async def _subscribe(self, topic_filter: str, qos: int) -> None:
        packet = Subscribe(self._client.next_id(), [Subscription(topic_filter, qos)])
        self._client.send(encode.encode_subscribe(packet, c.V311))
        # What an earlier life was sent comes again now, and after the reconnect.
        await self._client.pick(Suback)
        self._client.abort()

    async def run(self) -> None:
        while True:
            await self._connect()
            try:
                async with asyncio.timeout(self.context.rng.uniform(0.1, 0.5)):
                    await self._read(self._client)
            except TimeoutError:
                self._client.abort()
            await self.context.wait(0.02)

    async def _read(self, client: RawClient) -> None:
        while True:
            event = await client._event()
            if isinstance(event, PublishRun):
                is_qos2 = event.messages[0].flags & QOS2
                receive = self._receive_qos2 if is_qos2 else self._receive
                receive(client, event.packet_ids[0], key_of(event.messages[0].body))
            else:
                assert isinstance(event, AckRun), event
                assert event.kind == c.PUBREL
                (packet_id,) = event.packet_ids
                self._released(packet_id)
                self._later(client, partial(self._complete, client, packet_id))

    def _receive(self, client: RawClient, packet_id: int, key: Key) -> None:
        self._later(client, partial(self._take, client, packet_id, key))

    def _receive_qos2(self, client: RawClient, packet_id: int, key: Key) -> None:
        known = self._flows.get(packet_id)
        if known == (RECORDING, key):
            # It did not get our PUBREC.
            client.ack(c.PUBREC, packet_id)
            return
        assert known in (None, (GOT, key)), f"{key} came by {packet_id}, which is {known}"
        self._flows[packet_id] = GOT, key
        self.context.marks.note(
            "out_got", client=self.name, packet_id=packet_id, publisher=key[0], number=key[1]
        )
        if self.context.rng.random() < 0.95:
            self._later(client, partial(self._record, client, packet_id, key))

    def _released(self, packet_id: int) -> None:
        step, key = self._flows[packet_id]
        if step == RECORDING:
            self._step(packet_id, RELEASED)
            self.context.marks.note("taken", place=self.name, keys=[key])
        else:
            assert step in (RELEASED, COMPLETING), f"PUBREL for {packet_id}, which is {step}"

    def _later(self, client: RawClient, act: Callable[[], None]) -> None:
        delay_s = self.context.rng.choice((0, 0.003, 0.03))
        asyncio.get_running_loop().call_later(delay_s, lambda: act() if client is self._client else None)

    def _take(self, client: RawClient, packet_id: int, key: Key) -> None:
        self.context.marks.note("take", place=self.name, keys=[key])
        client.ack(c.PUBACK, packet_id)

    def _record(self, client: RawClient, packet_id: int, key: Key) -> None:
        self.context.marks.note("take", place=self.name, keys=[key])
        self._step(packet_id, RECORDING)
        client.ack(c.PUBREC, packet_id)

    def _complete(self, client: RawClient, packet_id: int) -> None:
        if self._flows[packet_id][0] == RELEASED:
            self._step(packet_id, COMPLETING)
        client.ack(c.PUBCOMP, packet_id)

    def _step(self, packet_id: int, step: str) -> None:
        self._flows[packet_id] = step, self._flows[packet_id][1]
        self.context.marks.note("out_step", client=self.name, packet_id=packet_id, step=step)


async def retain(context: Context, port: int) -> None:
    """Set and take back what topics retain, one change after another."""
    client = await connect(port, context.publisher("retainer"))
    for number in range(1_000_000):
        topic = f"kept/{context.rng.randint(1, 4)}"
        body = "" if context.rng.random() < 0.2 else f"{context.life} {number}"
        context.marks.note("retain", topic=topic, body=body)
        await client.published(topic, body.encode(), context.rng.choice((1, 2)), retain=True)
        context.marks.note("retained", topic=topic, body=body)
        await context.wait(0.02)


async def run(context: Context) -> None:
    """Until the time is over."""
    ports = Ports()
    async with context.node(NODE, ports):
        subscribers = [Subscriber(context, name, ports.mqtt) for name in SUBSCRIBERS]
        for subscriber in subscribers:
            await subscriber.subscribe()
        context.marks.note("ready")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one.run()) for one in subscribers[:2]]
            tasks += [group.create_task(Publisher(context, name, ports.mqtt).run()) for name in ("p", "q")]
            tasks.append(group.create_task(retain(context, ports.mqtt)))
            await asyncio.sleep(context.seconds)
            for task in tasks:
                task.cancel()
