"""The worker of one shovel: from a source, through a window in flight, to a destination that confirms.

Everything is done by the run: what the source delivers in one loop turn is published in one write, what the
destination confirms in one read is settled at once. When the link breaks, all that is not confirmed goes back to its
place in the source and is sent again in order.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Iterator
from typing import Any, ClassVar, Final

from edge.broker import Broker
from edge.core.consumer import Entry
from edge.core.errors import ConfigError, EdgeError
from edge.uris import Uri
from edge.workers import RUNNING, STARTING, TERMINATED, LinkError, Worker, error_text
from shovel.config import ON_CONFIRM, ShovelConfig
from shovel.destination import Destination, Feedback, MessageFault
from shovel.forwarding import source_keys
from shovel.refusals import Refusal, Refusals
from shovel.source import Source, Taker
from shovel.window import Ranges, Window

logger = logging.getLogger("shovel.worker")

DRAIN_S: Final = 1.0
"""At a stop, how long confirms on their way are waited for: each saves a duplicate at the next start."""

MakeDestination = Callable[[Uri], Destination]


class ShovelWorker(Worker, Taker, Feedback):
    """One shovel."""

    kind: ClassVar[str] = "shovel"

    def __init__(
        self,
        broker: Broker,
        config: ShovelConfig,
        source: Source,
        make_destination: MakeDestination,
        refusals: Refusals | None = None,
    ) -> None:
        super().__init__(broker, config.vhost, config.name, config.reconnect_delay_s)
        self.config = config
        self.parked = 0
        self._source = source
        self._make_destination = make_destination
        self._window = Window(config.source.prefetch_count)
        self._refusals = refusals or Refusals()
        self._settles_at_once = config.ack_mode != ON_CONFIRM
        # Of the connection
        self._uri = config.destination.uris[0]
        self._destination: Destination | None = None
        self._offer_timer: asyncio.TimerHandle | None = None
        self._drained: asyncio.Event | None = None
        #: How many messages may be in flight while the one is looked for that ended the last connection; 0: no bound.
        self._probe = 0
        self._suspects = 0

    # -- attempts --------------------------------------------------------------------------------------------------

    async def attempt(self) -> None:
        self.set_state(STARTING)
        destination = await self._connect()
        try:
            self._destination = destination
            await self._source.open(self)
            self.set_state(RUNNING)
            logger.info("shovel '%s' runs to %s", self.name, self._uri)
            await self.broken()
        except asyncio.CancelledError:
            await self._drain()
            raise
        except MessageFault as error:
            self._suspect(error)
            raise
        finally:
            self._give_back()
            await self._source.close()
            await destination.close()

    async def _connect(self) -> Destination:
        """Try the URIs in turn. Raises LinkError that tells what was wrong with each."""
        errors: list[str] = []
        for uri in self.config.destination.uris:
            destination = self._make_destination(uri)
            try:
                async with asyncio.timeout(uri.connect_timeout_s):
                    await destination.open(self)
            except BaseException as error:
                await destination.close()
                if not isinstance(error, EdgeError | OSError) or isinstance(error, ConfigError):
                    raise
                errors.append(f"{uri}: {error_text(error)}")
            else:
                self._uri = uri
                return destination
        raise LinkError("; ".join(errors))

    async def _drain(self) -> None:
        if self._window.count and self._failed is not None and self._destination is not None:
            self._drained = asyncio.Event()
            try:
                async with asyncio.timeout(DRAIN_S):
                    await self._drained.wait()
            except TimeoutError:
                logger.info("shovel '%s' stops with %d unconfirmed", self.name, self._window.count)
            finally:
                self._drained = None

    def _give_back(self) -> None:
        """Requeue everything in flight, in place."""
        self._destination = None
        if self._offer_timer is not None:
            self._offer_timer.cancel()
            self._offer_timer = None
        left = self._window.clear() + self._refusals.clear()
        if left:
            self._source.requeue(sorted(left))
        if not self._source.stable_sequences:
            self._refusals.counts.clear()

    def _suspect(self, error: MessageFault) -> None:
        """One of the messages in flight ended the connection: find it by halves, then count it as refused."""
        suspects = [entry for _, entry in self._window.outstanding()]
        if len(suspects) == 1:
            self._window.clear()
            self._refuse(suspects, Refusal(error.text, of_message=True))
            self._probe = 1
            self._suspects = 1
        elif suspects:
            self._probe = len(suspects) // 2
            self._suspects = len(suspects)
            self.starts_anew = True

    # -- from the source -------------------------------------------------------------------------------------------

    def room(self) -> int:
        destination = self._destination
        if destination is None or self._drained is not None or self._refusals.holds or self.has_failed:
            return 0
        room = min(self._window.room(), destination.room())
        if self._probe:
            room = min(room, self._probe - self._window.count)
        return room

    def take(self, entries: list[Entry]) -> None:
        destination = self._destination
        assert destination is not None
        self._publish(destination, entries)

    def _publish(self, destination: Destination, entries: list[Entry]) -> None:
        number = self._window.add(entries, time.monotonic())
        try:
            destination.publish(number, entries)
        except ValueError as error:
            # Properties that can be read but not be written: only the store or another version made such.
            self.fail(MessageFault(f"a message cannot be encoded: {error}"))
            return
        if self._settles_at_once:
            self.confirmed([(number, number + len(entries) - 1)])

    def source_failed(self, error: Exception) -> None:
        self.fail(error)

    # -- from the destination --------------------------------------------------------------------------------------

    def confirmed(self, ranges: Ranges) -> None:
        self._accept(self._window.take(ranges, time.monotonic()))

    def _accept(self, entries: list[Entry]) -> None:
        if not entries:
            return
        self._source.settle(entries)
        self.forwarded += len(entries)
        self._refusals.confirmed(entries)
        if self._probe:
            self._suspects -= len(entries)
            if self._suspects <= 0:
                self._probe = 0
        if self._drained is not None and not self._window.count:
            self._drained.set()
        if self._refusals.goes_on and self._refusals.is_waiting:
            self._offer()
        self._source.wake()

    def refused(self, ranges: Ranges, refusal: Refusal) -> None:
        self._refuse(self._window.take(ranges, time.monotonic()), refusal)
        self._schedule_offer()
        self._source.wake()

    def _refuse(self, entries: list[Entry], refusal: Refusal) -> None:
        if entries and refusal.reason != self.last_error:
            self.last_error = refusal.reason
            logger.warning("shovel '%s': %s refuses a message: %s", self.name, self._uri, refusal.reason)
        spent = self._refusals.refused(entries, refusal, time.monotonic())
        if spent:
            self._source.park(spent, refusal.reason)
            self.parked += len(spent)
            logger.warning(
                "shovel '%s' parked %d refused messages: %s", self.name, len(spent), refusal.reason
            )

    def _schedule_offer(self) -> None:
        if self._offer_timer is None and self._refusals.is_waiting:
            loop = asyncio.get_running_loop()
            self._offer_timer = loop.call_later(self._refusals.delay_s(), self._offer)

    def _offer(self) -> None:
        """Offer what was refused once more."""
        if self._offer_timer is not None:
            self._offer_timer.cancel()
            self._offer_timer = None
        destination = self._destination
        if destination is None:
            return
        if destination.room() > 0 and (again := self._refusals.due()):
            self._publish(destination, again)
        self._schedule_offer()

    def in_flight(self) -> Iterator[tuple[int, Entry]]:
        return self._window.outstanding()

    def has_room(self) -> None:
        self._source.wake()

    def destination_failed(self, error: Exception) -> None:
        self.fail(error)

    # -- status ----------------------------------------------------------------------------------------------------

    def backlog(self) -> int:
        return (
            self._source.waiting() + self._window.count + len(self._refusals.aside) - self._refusals.offered
        )

    def progress_mark(self) -> Hashable:
        destination = self._destination
        refusals = self._refusals
        if destination is None or destination.blocked or not self.backlog():
            return None
        if refusals.aside and not refusals.offered:
            # It pauses.
            return None
        return (self.forwarded, self.parked, refusals.rounds, destination.bytes_across())

    def finer_state(self) -> str:
        if self._destination is not None and self._destination.blocked:
            return "blocked"
        if self._refusals.aside:
            return "refused"
        return "flow" if self._window.is_full else RUNNING

    def details(self) -> dict[str, Any]:
        source, destination = self.config.source, self.config.destination
        row: dict[str, Any] = {
            "node": self.broker.name,
            "timestamp": self.timestamp,
            "name": self.name,
            "vhost": self.vhost,
            "type": "dynamic",
            "state": self.state,
            "blocked_status": self.shown_state,
            "src_uri": str(source.uris[0]),
            "src_protocol": source.protocol,
            "dest_uri": str(self._uri),
            "dest_protocol": destination.protocol,
            **{key.replace("-", "_"): value for key, value in source_keys(source).items()},
            **_given(
                src_topic=source.topic,
                dest_queue=destination.queue,
                dest_exchange=destination.exchange,
                dest_exchange_key=destination.exchange_key,
                dest_topic=destination.topic,
            ),
            "remaining": "unlimited",
            "remaining_unacked": "unlimited",
            "pending": self._window.count,
            "forwarded": self.forwarded,
            **self._progress(),
        }
        if self.state in (STARTING, TERMINATED) and self.last_error:
            row["reason"] = self.last_error
        return row

    def _progress(self) -> dict[str, Any]:
        """What RabbitMQ does not tell."""
        return {
            "lag": self.backlog(),
            "oldest_unconfirmed_ms": round(self._window.oldest_s(time.monotonic()) * 1000),
            "rate": round(self.rate, 1),
            "eta_s": self.eta_s(),
            "window_bytes": self._window.limit_bytes,
            "parked": self.parked,
            "reconnects": self.reconnects,
            "last_error": self.last_error,
        }


def _given(**values: str | None) -> dict[str, str]:
    return {key: value for key, value in values.items() if value is not None}
