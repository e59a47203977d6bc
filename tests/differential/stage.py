"""Plays a sequence of operations at one broker and tells what was observed.

After each operation that may move messages the stage waits until the broker is at rest: nothing more is to be
delivered, dead-lettered or confirmed. RabbitMQ's channels and queues are processes that send each other messages, so
the stage asks each of its channels, then each queue, then the channels again, until nothing has changed from one round
to the next. A round is over when all have answered; time is waited for confirms alone.

What RabbitMQ leaves open is not compared:

- in which order deliveries of several queues reach a channel: they are told by consumer;
- whether confirms come one by one or several at once;
- confirms of messages that were published in one write with one that ended the channel;
- deliveries to a connection in the moment of its end.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from edge.amqp091 import spec
from edge.amqp091.events import ContentReceived
from edge.core.message import MANDATORY, Message
from edge.core.properties import encode_properties
from tests.differential.lane import Lane, Unsettled
from tests.differential.observing import Json, Names
from tests.differential.operations import (
    WAIT_S,
    Call,
    CloseChannel,
    CloseConnection,
    Operation,
    Publish,
    Settle,
    SettleTag,
)
from tests.differential.peer import Answer, Closed, Peer

CONTROL = 3
"""The channel of each connection on which the stage asks for counts; the lanes are below."""
ROUNDS_MAX = 1_000
"""A message that goes round for ever would never let the broker rest."""
CONFIRM_S = 0.01
"""Between looks for a confirm that is still due: ten seconds in all, for a disk that others use too."""

Step = dict[str, Json]
Observation = list[Step]


class Stage:
    """One broker, with two connections that serve sequence after sequence; lanes 0 and 1 share the first."""

    def __init__(self, port: int) -> None:
        self._peers = [Peer(port, CONTROL), Peer(port, CONTROL)]
        self._lanes = [Lane(0, 1), Lane(0, 2), Lane(1, 1)]
        self._begin("", 0.0)

    def _begin(self, prefix: str, patience_s: float) -> None:
        """Forget the last sequence."""
        self._names = Names(prefix)
        self._patience_s = patience_s
        self._bodies = 0
        self._rests = 0
        #: by real name: the connection that may ask for the queue
        self._queues: dict[str, int] = {}
        self._exchanges: set[str] = set()

    async def play(
        self, operations: Sequence[Operation], prefix: str, patience_s: float = 0.0
    ) -> Observation:
        """Play a sequence whose names begin with ``prefix``; what was observed, a step each, and what was left.

        ``patience_s`` passes between the rounds of a rest, of which there are more then.
        """
        self._begin(prefix, patience_s)
        try:
            observed = [await self._step(operation) for operation in operations]
            observed.append(await self._leave())
        except BaseException:
            # Nothing of a sequence that was broken off may be met by the next one.
            self.close()
            raise
        return observed

    def close(self) -> None:
        """Drop the connections; the next sequence opens others."""
        for peer in self._peers:
            peer.abort()
        self._listen()
        for lane in self._lanes:
            lane.tell(self._names, 0)
            lane.reset()

    # -- one operation ---------------------------------------------------------------------------------------------

    async def _step(self, operation: Operation) -> Step:
        for peer in self._peers:
            await peer.open()
        answer = await self._perform(operation)
        step: Step = {} if answer is None else {"answer": answer}
        if not isinstance(operation, Call) or operation.moves_messages or answer == "closed":
            step["counts"] = await self._rest()
        return step | self._tell()

    async def _perform(self, operation: Operation) -> Json:
        """Carry out an operation; what came back for it, None for nothing."""
        lane = self._lanes[operation.lane]
        peer = self._peers[lane.connection]
        if isinstance(operation, Call):
            return await self._call(lane, operation.method)
        if isinstance(operation, Publish):
            await self._publish(lane, operation)
        elif isinstance(operation, Settle):
            tag = lane.settle(operation.which, operation.multiple)
            if tag is not None:
                peer.send(lane.channel, operation.method(tag))
        elif isinstance(operation, CloseChannel):
            await peer.close_channel(lane.channel)
            lane.reset()
        elif isinstance(operation, CloseConnection):
            await peer.close()
        else:
            assert isinstance(operation, SettleTag)
            peer.send(lane.channel, operation.method)
            # None, or all; and if it was refused, the channel is closed.
            lane.forget_unsettled()
        return None

    async def _publish(self, lane: Lane, operation: Publish) -> None:
        peer = self._peers[lane.connection]
        peer.publish(lane.channel, self._messages(operation))
        lane.publish(operation.count)
        if operation.then_wait:
            await self._flow()
            await asyncio.sleep(WAIT_S)

    def _messages(self, operation: Publish) -> list[Message]:
        names = self._names
        properties = encode_properties(names.real(operation.properties))
        exchange, key = names.real(operation.exchange), names.real(operation.routing_key)
        flags = MANDATORY if operation.mandatory else 0
        numbers = range(self._bodies, self._bodies + operation.count)
        self._bodies += operation.count
        size = operation.size
        bodies = [str(number).ljust(size, ".").encode() if size else b"" for number in numbers]
        return [Message(exchange, key, properties, body, flags=flags) for body in bodies]

    async def _call(self, lane: Lane, method: spec.Method) -> Json:
        real = self._names.real(method)
        self._note_names(lane, real)
        peer = self._peers[lane.connection]
        if getattr(method, "no_wait", False) or isinstance(method, spec.BasicRecoverAsync):
            # Refusals are answered all the same, and so is what comes after.
            peer.send(lane.channel, real)
            answer = await peer.call(lane.channel, spec.ChannelFlow(True))
        else:
            answer = await peer.call(lane.channel, real)
        if isinstance(answer, Closed):
            return "closed"
        self._note_answer(lane, real, answer)
        return self._names.answer(answer)

    def _note_names(self, lane: Lane, method: spec.Method) -> None:
        """Remember what there may be from now on."""
        if isinstance(method, spec.ExchangeDeclare) and not method.passive:
            self._exchanges.add(method.exchange)
        elif isinstance(method, spec.QueueDeclare) and method.queue:
            self._queues.setdefault(method.queue, lane.connection if method.exclusive else 0)
        elif isinstance(method, spec.BasicConsume):
            lane.note_consumer(method.consumer_tag, method.no_ack)

    def _note_answer(self, lane: Lane, method: spec.Method, answer: Answer) -> None:
        if isinstance(answer, spec.QueueDeclareOk) and isinstance(method, spec.QueueDeclare):
            self._queues.setdefault(answer.queue, lane.connection if method.exclusive else 0)
        elif isinstance(answer, spec.BasicConsumeOk) and isinstance(method, spec.BasicConsume):
            lane.note_consumer(answer.consumer_tag, method.no_ack)
        elif isinstance(method, spec.ConfirmSelect):
            lane.confirms = True
        elif isinstance(method, spec.BasicRecover | spec.BasicRecoverAsync):
            lane.forget_unsettled()
        elif isinstance(answer, ContentReceived) and isinstance(method, spec.BasicGet) and not method.no_ack:
            assert isinstance(answer.method, spec.BasicGetOk)
            lane.add_unsettled([Unsettled(answer.method.delivery_tag, method.queue, self._rests)])

    # -- rest ------------------------------------------------------------------------------------------------------

    async def _rest(self) -> Json:
        """Wait until nothing moves any more; the messages and consumers of each queue."""
        before: object = None
        equal = 0
        equal_min = 3 if self._patience_s else 1
        await self._flow()
        for _ in range(ROUNDS_MAX):
            counts = await self._counts()
            await self._flow()
            self._listen()
            state = counts, sum([peer.heard for peer in self._peers])
            equal = equal + 1 if state == before else 0
            before = state
            is_confirmed = not any([lane.unconfirmed for lane in self._lanes])
            if equal >= equal_min and is_confirmed:
                return {self._names.plain(name): found for name, found in counts.items()}
            if self._patience_s or not is_confirmed:
                await asyncio.sleep(max(self._patience_s, CONFIRM_S))
        raise AssertionError(f"the broker does not come to rest: {before}")

    async def _flow(self) -> None:
        """Let every channel answer: all that it was given before has passed it."""
        for peer in self._peers:
            await peer.open()
        for lane in self._lanes:
            self._peers[lane.connection].send(lane.channel, spec.ChannelFlow(True))
        for lane in self._lanes:
            await self._peers[lane.connection].answer(lane.channel)

    async def _counts(self) -> dict[str, Json]:
        """Ready messages and consumers of each queue by its real name; forgets queues that are gone."""
        counts: dict[str, Json] = {}
        for index, peer in enumerate(self._peers):
            names = deque([name for name, owner in self._queues.items() if owner == index])
            while names:
                await peer.open()
                for name in names:
                    peer.send(CONTROL, spec.QueueDeclare(queue=name, passive=True))
                while names:
                    answer = await peer.answer(CONTROL)
                    name = names.popleft()
                    if isinstance(answer, Closed):
                        assert answer.channel == CONTROL, answer
                        assert answer.code == 404, answer
                        del self._queues[name]
                        break
                    assert isinstance(answer, spec.QueueDeclareOk), answer
                    counts[name] = [answer.message_count, answer.consumer_count]
        return counts

    def _listen(self) -> None:
        """Give the lanes what has come for them; a connection's end concerns all of its lanes."""
        for index, peer in enumerate(self._peers):
            for news in peer.news:
                for lane in self._lanes:
                    if lane.connection == index and news.channel in (0, lane.channel):
                        lane.hear(news)
            peer.news.clear()

    def _tell(self) -> Step:
        self._listen()
        told = [lane.tell(self._names, self._rests) for lane in self._lanes]
        self._rests += 1
        return {f"lane {index}": heard for index, heard in enumerate(told) if heard}

    # -- the end ---------------------------------------------------------------------------------------------------

    async def _leave(self) -> Step:
        """Close the lanes, tell what all queues hold, and delete them."""
        for peer in self._peers:
            await peer.open()
        for lane in self._lanes:
            await self._peers[lane.connection].close_channel(lane.channel)
            lane.reset()
        step: Step = {"counts": await self._rest()}
        for name, owner in list(self._queues.items()):
            step[f"left in {self._names.plain(name)}"] = await self._drain(self._peers[owner], name)
        for peer in self._peers:
            await peer.open()
        for name, owner in self._queues.items():
            await self._peers[owner].call(CONTROL, spec.QueueDelete(queue=name))
        for name in self._exchanges:
            if not name.startswith("amq."):
                await self._peers[0].call(CONTROL, spec.ExchangeDelete(exchange=name))
        return step | self._tell()

    async def _drain(self, peer: Peer, queue: str) -> Json:
        left: list[Json] = []
        while True:
            await peer.open()
            answer = await peer.call(CONTROL, spec.BasicGet(queue=queue, no_ack=True))
            left.append(self._names.answer(answer))
            if not isinstance(answer, ContentReceived):
                return left
