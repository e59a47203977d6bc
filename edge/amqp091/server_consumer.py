"""Consumers of an AMQP channel, and what has been delivered on it and is not settled."""

import logging
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import TYPE_CHECKING, Final, final

from edge.amqp091.constants import PRECONDITION_FAILED
from edge.amqp091.errors import ChannelFault
from edge.amqp091.outbound import DeliveryEncoder
from edge.core.consumer import Consumer, Entry
from edge.core.queue import Queue

if TYPE_CHECKING:
    from edge.amqp091.server_channel import ServerChannel

logger = logging.getLogger("edge.amqp091.server")

UNACKED_MAX: Final = 65_535
"""Unsettled deliveries of a consumer without prefetch: the largest prefetch count there is, so that a consumer that
never acknowledges cannot bring a whole backlog into RAM."""


@final
class AmqpConsumer(Consumer):
    """One basic.consume. With ``sequenced`` the delivery tag is the entry's sequence + 1 (``x-leveret-sequence``)."""

    __slots__ = ("active", "channel", "encoder", "is_told", "prefetch_count", "sequenced", "unacked")

    def __init__(
        self,
        channel: "ServerChannel",
        tag: str,
        queue: Queue,
        *,
        no_ack: bool,
        exclusive: bool,
        arguments: dict[str, object],
        sequenced: bool = False,
    ) -> None:
        priority = arguments.get("x-priority", 0)  # checked by the channel
        super().__init__(
            tag,
            queue,
            no_ack=no_ack,
            exclusive=exclusive,
            priority=priority if isinstance(priority, int) else 0,
            committed_only=sequenced,
            arguments=arguments,
        )
        self.channel = channel
        #: neither cancelled nor without its queue
        self.active = True
        self.sequenced = sequenced
        self.prefetch_count = channel.prefetch_count
        self.encoder = DeliveryEncoder(channel.number, tag, channel.connection.machine.frame_max)
        #: by delivery tag, in the order of delivery
        self.unacked: dict[int, Entry] = {}
        #: that it waits for its own acknowledgements: said once
        self.is_told = False

    @property
    def shares_room(self) -> bool:
        return self.channel.prefetch_count_shared > 0

    def capacity(self) -> int:
        channel = self.channel
        room = channel.connection.delivery_room(self.queue)
        if self.no_ack:
            # RabbitMQ holds them back too while a prefetch of the whole channel is used up (``rabbit_limiter``).
            return 0 if channel.is_shared_full else room
        room = min(room, self.own_room())
        if channel.prefetch_count_shared:
            room = min(room, channel.shared_room(self))
        return room

    def own_room(self) -> int:
        """How many entries its own prefetch allows, or without one the bounds on what it may keep in RAM."""
        if self.prefetch_count:
            return self.prefetch_count - len(self.unacked)
        return 0 if self._holds_too_much() else UNACKED_MAX - len(self.unacked)

    def _holds_too_much(self) -> bool:
        """Whether it has unacknowledged deliveries, and those of its queue have too many bytes.

        The queue counts them anyway, and its RAM is what is at stake, whoever of its consumers holds it.
        """
        bytes_max = self.channel.connection.unacked_max_bytes
        if not bytes_max or self.queue.message_bytes_unacknowledged < bytes_max:
            return False
        if not self.unacked or self.channel.prefetch_count_shared:
            return False
        if not self.is_told:
            self.is_told = True
            logger.warning(
                "%s channel %d: consumer '%s' has no prefetch, and queue '%s' has %d bytes unacknowledged: it gets no"
                " more before it acknowledges some; let it set a prefetch, or raise [amqp] unacked_max_bytes",
                self.channel.connection.name,
                self.channel.number,
                self.tag,
                self.queue.name,
                self.queue.message_bytes_unacknowledged,
            )
        return True

    def deliver(self, entries: list[Entry]) -> None:
        channel = self.channel
        count = len(entries)
        if self.sequenced:
            tag = 0
            self.unacked.update([(entry[0] + 1, entry) for entry in entries])
        else:
            tag = channel.next_tag
            channel.next_tag += count
            if not self.no_ack:
                self.unacked.update(zip(range(tag, tag + count), entries, strict=True))
        channel.connection.deliver(self.encoder.encode(entries, tag), count, self.no_ack)
        if channel.prefetch_count_shared:
            channel.pass_turn()

    def cancelled(self) -> None:
        self.channel.on_consumer_cancelled(self)


@final
class Gotten:
    """What basic.get took from one queue on one channel and is not settled."""

    __slots__ = ("active", "queue", "unacked")

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.active = False
        self.unacked: dict[int, Entry] = {}


Source = AmqpConsumer | Gotten


@final
class Unacked:
    """All unsettled deliveries of a channel, kept by what they came through: most channels have one consumer."""

    __slots__ = ("channel_number", "sources")

    def __init__(self, channel_number: int) -> None:
        self.channel_number = channel_number
        self.sources: list[Source] = []

    def count(self) -> int:
        return sum([len(source.unacked) for source in self.sources])

    def add(self, source: Source) -> None:
        """Take deliveries through ``source`` from now on; sources that are over and empty are forgotten."""
        self.sources = [old for old in self.sources if old.unacked or old.active]
        self.sources.append(source)

    def gotten(self, queue: Queue) -> Gotten:
        """The source of basic.get from this queue."""
        for source in self.sources:
            if source.queue is queue and isinstance(source, Gotten):
                return source
        source = Gotten(queue)
        self.add(source)
        return source

    def take(self, tags: list[int], method: int) -> Iterator[tuple[Source, list[Entry]]]:
        """Take single deliveries, by runs of one source. Raises ChannelFault when it comes to an unknown tag."""
        position = 0
        while position < len(tags):
            source = self.source_of(tags[position], method)
            entries, position = _take_run(source, tags, position)
            yield source, entries

    def take_through(self, tag: int, method: int) -> list[tuple[Source, list[Entry]]]:
        """Take all deliveries up to ``tag``, all there are for 0 (section 1.8.3.13).

        Raises ChannelFault when ``tag`` itself is unknown or settled (``rabbit_channel:collect_acks``).
        """
        taken: list[tuple[Source, list[Entry]]] = []
        if tag and not any([tag in source.unacked or source_is_sequenced(source) for source in self.sources]):
            raise self.unknown(tag, method)
        for source in self.sources:
            unacked = source.unacked
            if tag == 0 or (unacked and not source_is_sequenced(source) and next(reversed(unacked)) <= tag):
                tags: Iterable[int] = list(unacked)
            elif source_is_sequenced(source):
                tags = [each for each in unacked if each <= tag]
            else:
                tags = list(takewhile(tag.__ge__, unacked))
            entries = [unacked.pop(each) for each in tags]
            if entries:
                taken.append((source, entries))
        if tag and not taken:
            raise self.unknown(tag, method)
        return taken

    def tags_through(self, tag: int) -> list[int]:
        """All delivery tags up to ``tag``, all there are for 0."""
        return [each for source in self.sources for each in source.unacked if tag == 0 or each <= tag]

    def take_all(self) -> list[tuple[Source, list[Entry]]]:
        taken = [(source, list(source.unacked.values())) for source in self.sources if source.unacked]
        for source in self.sources:
            source.unacked.clear()
        return taken

    def source_of(self, tag: int, method: int) -> Source:
        """What a delivery came through. Raises ChannelFault."""
        for source in self.sources:
            if tag in source.unacked:
                return source
        raise self.unknown(tag, method)

    def unknown(self, tag: int, method: int) -> ChannelFault:
        return ChannelFault(self.channel_number, PRECONDITION_FAILED, f"unknown delivery tag {tag}", method)


def source_is_sequenced(source: Source) -> bool:
    """Whether its tags may come in any order, because a requeued entry keeps its own."""
    return isinstance(source, AmqpConsumer) and source.sequenced


def _take_run(source: Source, tags: list[int], position: int) -> tuple[list[Entry], int]:
    """Take tags of one source from ``position`` on; return the entries and where the first foreign tag is."""
    pop = source.unacked.pop
    entries: list[Entry] = []
    for index in range(position, len(tags)):
        entry = pop(tags[index], None)
        if entry is None:
            return entries, index
        entries.append(entry)
    return entries, len(tags)
