"""The receiving end of a link: deliveries of the upstream become messages here, and are acknowledged once on disk."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from edge.amqp091.client import AmqpClient
from edge.amqp091.client_channel import ClientChannel
from edge.amqp091.events import DeliverRun
from edge.broker import Broker
from edge.core.errors import BrokerError
from edge.core.exchange import Exchange
from edge.core.message import Message
from edge.retry import refusal_delay_s
from edge.workers import LinkError
from federation.headers import Stamp
from federation.progress import Progress
from federation.upstream import NO_ACK, ON_PUBLISH, Upstream

logger = logging.getLogger("federation.intake")

PAUSE_REASON: Final = "congested"
FULL_REASON: Final = "full"
DISK_REASON: Final = "disk"
OFFER_DELAY_S: Final = 0.5
OFFER_DELAY_MAX_S: Final = 60.0
"""What a full queue has refused is offered again after pauses that grow to this."""


class Intake:
    """Of one connection. Everything is done by the run; nothing is awaited."""

    def __init__(
        self,
        broker: Broker,
        client: AmqpClient,
        channel: ClientChannel,
        exchange: Exchange,
        upstream: Upstream,
        *,
        uri: str,
        upstream_cluster: str,
        upstream_vhost: str,
        failed: Callable[[Exception], None],
    ) -> None:
        self.forwarded = 0
        self.duplicates = 0
        self._broker = broker
        self._client = client
        self._channel = channel
        self._exchange = exchange
        self._vhost = broker.vhost(exchange.vhost)
        self._ack_mode = upstream.ack_mode
        self._failed = failed
        self._stamp = Stamp(
            uri=uri,
            exchange=exchange.name,
            upstream_cluster=upstream_cluster,
            upstream_vhost=upstream_vhost,
            cluster=broker.name,
            vhost=exchange.vhost,
            max_hops=upstream.max_hops,
            trust_user_id=upstream.trust_user_id,
        )
        self._progress: Progress | None = None
        #: What came before ``begin``, None after it.
        self._early: list[DeliverRun] | None = []
        self._uri = uri
        self._is_over = False
        #: What full queues have refused, with its tags, and what came behind it in the same read.
        self._refused: list[tuple[int, Message]] = []
        self._later: list[DeliverRun] = []
        self._rounds = 0
        #: The disk is full.
        self._is_waiting = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_sequenced(self) -> bool:
        """Whether the upstream numbers its messages, so that each arrives exactly once."""
        return self._progress is not None

    def begin(self, progress: Progress | None) -> None:
        """Go on with what has come so far; with ``progress`` delivery tags are sequences + 1."""
        self._progress = progress
        early, self._early = self._early or [], None
        for run in early:
            self.on_deliveries(run)

    def on_deliveries(self, run: DeliverRun) -> None:
        """Take a run of the upstream's deliveries."""
        if self._early is not None:
            self._early.append(run)
            return
        if self._is_over:
            return
        if self._refused or self._is_waiting:
            self._later.append(run)
            return
        if self._broker.is_full:
            self._wait_for_disk(run)
            return
        self._take(run)
        if self._broker.congested:
            self._client.pause_input(PAUSE_REASON)
            self._broker.when_relieved(self._relieved)

    def _wait_for_disk(self, run: DeliverRun) -> None:
        """The disk is full: the upstream keeps what it has."""
        self._is_waiting = True
        self._later.append(run)
        self._client.pause_input(DISK_REASON)
        self._broker.when_roomy(self, self._has_room)

    def _has_room(self) -> None:
        self._is_waiting = False
        self._client.resume_input(DISK_REASON)
        self._go_on()

    def _go_on(self) -> None:
        """Take what has come meanwhile."""
        later, self._later = self._later, []
        for run in later:
            self.on_deliveries(run)

    def _relieved(self) -> None:
        self._client.resume_input(PAUSE_REASON)

    def _take(self, run: DeliverRun) -> None:
        """Publish a run here, and let the upstream forget it when it is on disk.

        With ``progress`` that is exactly once: what was taken before is only acknowledged again.
        """
        received = self._stamp.received
        progress = self._progress
        tags: list[int] = []
        messages: list[Message] = []
        for tag, message, redelivered in zip(run.tags, run.messages, run.redelivered, strict=True):
            if progress is not None and tag - 1 in progress.taken:
                if redelivered:
                    self.duplicates += 1
                    continue
                # Nobody has been given it before, so the number has meant another message.
                logger.warning("upstream %s has gone back to an older state of its store", self._uri)
                progress.go_back(tag - 1)
            stamped = received(message, redelivered)
            if stamped is not None:
                tags.append(tag)
                messages.append(stamped)
        refused = self._publish(tags, messages)
        if refused is None:
            return
        if refused:
            missing = {tag for tag, _ in refused}
            self._settle([tag for tag in run.tags if tag not in missing], is_whole=False)
            self._refused = refused
            self._wait_for_room()
        else:
            self._settle(run.tags, is_whole=True)

    def _settle(self, tags: list[int], *, is_whole: bool) -> None:
        """Acknowledge what was published in this turn of the loop; whole runs with all that came before them."""
        progress = self._progress
        if not tags or self._ack_mode == NO_ACK:
            return
        if progress is not None:
            # In one loop turn with the messages, and so in one transaction.
            progress.take([tag - 1 for tag in tags])
            low = progress.taken.low
            self._broker.after_commit(lambda: self._ack_taken(tags, low))
            return
        if is_whole:
            tags = tags[-1:]
        if self._ack_mode == ON_PUBLISH:
            self._ack(tags, multiple=is_whole)
        else:
            self._broker.after_commit(lambda: self._ack(tags, multiple=is_whole))

    # -- full queues -----------------------------------------------------------------------------------------------

    def _wait_for_room(self) -> None:
        """A full queue here refuses messages: they are offered again, and what comes behind them waits."""
        if not self._rounds:
            logger.warning("a full queue refuses what comes from %s: the link waits for it", self._uri)
        self._client.pause_input(FULL_REASON)
        self._rounds += 1
        delay_s = refusal_delay_s(self._rounds, OFFER_DELAY_S, OFFER_DELAY_MAX_S)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._offer)

    def _offer(self) -> None:
        """One first, then two, four and so on: queues that have room get a message again with each refusal."""
        self._timer = None
        if self._broker.is_full:
            self._wait_for_room()
            return
        size = 1
        while self._refused:
            part, rest = self._refused[:size], self._refused[size:]
            refused = self._publish([tag for tag, _ in part], [message for _, message in part])
            if refused is None:
                return
            missing = {tag for tag, _ in refused}
            self._settle([tag for tag, _ in part if tag not in missing], is_whole=False)
            self._refused = refused + rest
            if len(refused) < len(part):
                self._rounds = 0
            if refused:
                self._wait_for_room()
                return
            size *= 2
        self._go_on()
        if not self._refused:
            self._client.resume_input(FULL_REASON)

    def close(self) -> None:
        """Take nothing more."""
        self._is_over = True
        self._broker.forget_waiting(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ack_taken(self, tags: list[int], low: int) -> None:
        """All below the watermark is taken, so one acknowledgement does for it; above it there are gaps."""
        below = [tag for tag in tags if tag <= low]
        if below:
            self._ack([max(below)], multiple=True)
        above = [tag for tag in tags if tag > low]
        if above:
            self._ack(above, multiple=False)

    def _publish(self, tags: list[int], messages: list[Message]) -> list[tuple[int, Message]] | None:
        """Publish; return what full queues have refused, with its tags, or None when the link has failed."""
        if not messages:
            return []
        try:
            result = self._broker.forward(self._vhost, self._exchange.name, messages)
        except BrokerError as error:
            # What comes after it must not be acknowledged along with it.
            self.close()
            self._failed(LinkError(error.text))
            return None
        self.forwarded += len(messages) - len(result.rejected)
        if not result.rejected:
            return []
        rejected = {id(message) for message in result.rejected}
        return [each for each in zip(tags, messages, strict=True) if id(each[1]) in rejected]

    def _ack(self, tags: list[int], *, multiple: bool) -> None:
        if self._channel.error is None:
            self._channel.acks(tags, multiple=multiple)
