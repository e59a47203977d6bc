"""A link: what is published to an exchange of the upstream comes to the exchange of the same or another name here.

On the wire it does what RabbitMQ's rabbit_federation_exchange_link does (declarations, names, arguments and their
order), so that operators and other tools see the same objects. Better than there: bindings are pipelined, not one round
trip each; nothing at the upstream is deleted when a link is restarted; messages are acknowledged once they are on disk
here; and between Leverets each arrives exactly once.
"""

import asyncio
import dataclasses
import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final

from edge.amqp091.client import AmqpClient
from edge.amqp091.client_channel import ClientChannel
from edge.amqp091.constants import COMMAND_INVALID, NOT_FOUND, PRECONDITION_FAILED
from edge.amqp091.errors import AmqpError, ChannelFault, ConnectionFault
from edge.broker import Broker
from edge.core.binding import arguments_key
from edge.core.errors import ConfigError, EdgeError
from edge.core.exchange import Exchange
from edge.workers import RUNNING, STARTING, TERMINATED, LinkError, Worker, close_soon, error_text
from federation.headers import bound_from
from federation.intake import Intake
from federation.progress import Progress
from federation.upstream import INTERNAL_PURPOSE, NO_ACK, ON_CONFIRM, Upstream, queue_name

logger = logging.getLogger("federation.link")

SUFFIX_KIND: Final = "federation-suffix"
SEQUENCE_CAPABILITY: Final = "leveret.sequence"
SEQUENCE_ARGUMENT: Final = "x-leveret-sequence"
BINDS_AT_ONCE: Final = 1000
"""Bindings that are asked for before the first is answered."""
RETIRE_S: Final = 3.0
"""What taking back our queue at the upstream may last when the exchange here is deleted."""

BindingKey = tuple[str, str]
Bindings = dict[BindingKey, dict[str, Any]]
"""Routing key and a text of the arguments -> the arguments."""


class ExchangeLink(Worker):
    """One exchange of this node and one upstream."""

    kind: ClassVar[str] = "federation link"

    def __init__(
        self, broker: Broker, exchange: Exchange, upstream: Upstream, progress: dict[str, Progress]
    ) -> None:
        super().__init__(
            broker, exchange.vhost, f"{upstream.name} -> {exchange.name}", upstream.reconnect_delay_s
        )
        self.exchange = exchange
        self.upstream = upstream
        #: Set before the last cancel: the exchange is gone, so nobody wants what the upstream keeps for us.
        self.is_retiring = False
        self.duplicates = 0
        self._progress = progress
        self._upstream_exchange = upstream.exchange or exchange.name
        self._lacks_exchange_type = False
        self._suffix = ""
        # Of the connection
        self._uri = upstream.uris[0]
        self._commands: ClientChannel | None = None
        self._intake: Intake | None = None
        self._queue_name = ""
        self._upstream_cluster = ""
        self._bound: Bindings = {}
        self._bindings_changed = False
        self._sync: asyncio.Task[None] | None = None

    # -- attempts --------------------------------------------------------------------------------------------------

    async def attempt(self) -> None:
        self.set_state(STARTING)
        client = await self._connect()
        try:
            client.when_closed = self.fail
            await self._start(client)
            self.set_state(RUNNING)
            logger.info("federation link '%s' in vhost '%s' runs to %s", self.name, self.vhost, self._uri)
            self.bindings_changed()
            await self.broken()
        except asyncio.CancelledError:
            if self.is_retiring:
                await self._retire(client)
            raise
        finally:
            self._count()
            if self._intake is not None:
                self._intake.close()
            self._commands = self._intake = None
            if self._sync is not None:
                self._sync.cancel()
                self._sync = None
            await close_soon(client.close())

    async def _connect(self) -> AmqpClient:
        """Try the URIs in turn. Raises LinkError that tells what was wrong with each."""
        errors: list[str] = []
        for uri in self.upstream.uris:
            # Without a vhost it means the upstream's vhost of the same name.
            uri = uri if uri.names_vhost else dataclasses.replace(uri, vhost=self.vhost)
            try:
                client = await AmqpClient.connect(
                    uri,
                    connection_name=f"Federation link (upstream: {self.upstream.name}, exchange: {self.exchange.name})",
                    elapsed_ms=self.broker.clock.elapsed_ms,
                )
            except ConfigError:
                raise
            except (EdgeError, OSError) as error:
                errors.append(f"{uri}: {error_text(error)}")
            else:
                self._uri = uri
                return client
        raise LinkError("; ".join(errors))

    async def _start(self, client: AmqpClient) -> None:
        cluster = client.server_properties.get("cluster_name")
        self._upstream_cluster = cluster if isinstance(cluster, str) else ""
        self._queue_name = queue_name(
            self.exchange.name, self._upstream_exchange, self.vhost, self._uri.vhost, self.broker.name
        )
        await self._declare_queue(client)
        await self._consume(client)
        await self._declare_upstream_exchange(client)
        commands = await client.channel()
        commands.when_closed = self.fail
        await self._swap_internal_exchange(client, commands)
        self._commands = commands

    # -- declarations at the upstream ------------------------------------------------------------------------------

    async def _declare_queue(self, client: AmqpClient) -> None:
        arguments = self.upstream.queue_arguments()
        channel = await client.channel()
        try:
            await channel.declare_queue(self._queue_name, durable=True, arguments=arguments)
        except ChannelFault as error:
            if error.code != PRECONDITION_FAILED:
                raise
            # Declared with other arguments before: what it holds is worth more than the new ones.
            logger.warning("federation link '%s' keeps the upstream's queue as it is: %s", self.name, error)
            channel = await client.channel()
            await channel.declare_queue(self._queue_name, passive=True)
        await channel.close()

    async def _consume(self, client: AmqpClient) -> None:
        upstream = self.upstream
        is_sequenced = (
            upstream.ack_mode == ON_CONFIRM and client.capabilities.get(SEQUENCE_CAPABILITY) is True
        )
        channel = await client.channel()
        channel.when_closed = self.fail
        intake = self._intake = Intake(
            self.broker,
            client,
            channel,
            self.exchange,
            upstream,
            uri=str(self._uri),
            upstream_cluster=self._upstream_cluster,
            upstream_vhost=self._uri.vhost,
            failed=self.fail,
        )
        if upstream.ack_mode != NO_ACK:
            await channel.qos(upstream.prefetch_count)
        tag = await channel.consume(
            self._queue_name,
            intake.on_deliveries,
            no_ack=upstream.ack_mode == NO_ACK,
            arguments={SEQUENCE_ARGUMENT: True} if is_sequenced else {},
            when_cancelled=lambda _: self.fail(LinkError(f"queue '{self._queue_name}' is gone")),
        )
        progress = await self._progress_of(tag) if is_sequenced else None
        intake.begin(progress)

    async def _progress_of(self, origin: str) -> Progress:
        # Once loaded it stays in RAM: the store knows what is committed, not what is taken since.
        if origin not in self._progress:
            self._progress[origin] = await Progress.load(self.broker, origin)
        return self._progress[origin]

    async def _declare_upstream_exchange(self, client: AmqpClient) -> None:
        channel = await client.channel()
        try:
            await channel.declare_exchange(self._upstream_exchange, passive=True)
        except ChannelFault as error:
            if error.code != NOT_FOUND:
                raise
            exchange = self.exchange
            channel = await client.channel()
            await channel.declare_exchange(
                self._upstream_exchange,
                exchange.type,
                durable=exchange.durable,
                auto_delete=exchange.auto_delete,
                internal=exchange.internal,
                arguments=exchange.arguments,
            )
        await channel.close()

    async def _swap_internal_exchange(self, client: AmqpClient, commands: ClientChannel) -> None:
        """Bind a new internal exchange as ours is bound now, then drop the one of the last connection.

        So a key that was bound before and after never misses a message, and one that has gone meanwhile goes there too.
        """
        suffix = "B" if await self._last_suffix() == "A" else "A"
        other = "A" if suffix == "B" else "B"
        internal = f"{self._queue_name} {suffix}"
        await commands.delete_exchange(internal)
        await self._declare_internal(client, internal)
        await commands.bind_queue(self._queue_name, internal)
        self._suffix = suffix
        self.broker.store.put(SUFFIX_KIND, self._suffix_key, suffix.encode())
        self._bound = {}
        await self._bind(commands, self._wanted())
        # Not before the suffix is on disk: after a crash the wrong one, which is bound, would be made anew.
        await self.broker.store.committed()
        await commands.delete_exchange(f"{self._queue_name} {other}")

    async def _declare_internal(self, client: AmqpClient, name: str) -> None:
        """Of type x-federation-upstream, which filters before the link; fanout where the upstream has no such type.

        RabbitMQ falls back on 503 only, which its own releases since 4.0 do not answer any more.
        """
        arguments: dict[str, Any] = {INTERNAL_PURPOSE: "federation"}
        if not self._lacks_exchange_type:
            channel = await client.channel()
            try:
                await channel.declare_exchange(
                    name,
                    "x-federation-upstream",
                    durable=True,
                    auto_delete=True,
                    internal=True,
                    arguments={
                        "x-max-hops": self.upstream.max_hops,
                        "x-downstream-name": self.broker.name,
                        "x-downstream-vhost": self.vhost,
                        **arguments,
                    },
                )
            except ChannelFault as error:
                if error.code not in (PRECONDITION_FAILED, COMMAND_INVALID):
                    raise
                self._lacks_exchange_type = True
            except ConnectionFault as error:
                self._lacks_exchange_type = error.code == COMMAND_INVALID
                raise
            else:
                await channel.close()
                return
        channel = await client.channel()
        await channel.declare_exchange(
            name, "fanout", durable=True, auto_delete=True, internal=True, arguments=arguments
        )
        await channel.close()

    @property
    def _suffix_key(self) -> str:
        key = f"{self.vhost}\0{self.exchange.name}\0{self.upstream.name}"
        if self._upstream_exchange == self.exchange.name:
            return key
        # An upstream may be in a set more than once, with an exchange each time.
        return f"{key}\0{self._upstream_exchange}"

    async def _last_suffix(self) -> str:
        if not self._suffix:
            saved = await self.broker.store.records(SUFFIX_KIND)
            self._suffix = saved.get(self._suffix_key, b"").decode()
        return self._suffix

    async def _retire(self, client: AmqpClient) -> None:
        """Take back what was declared at the upstream for us."""
        if self._commands is None or client.error is not None:
            return
        try:
            async with asyncio.timeout(RETIRE_S):
                await self._commands.delete_queue(self._queue_name)
                await self._commands.delete_exchange(f"{self._queue_name} {self._suffix}")
        except (AmqpError, TimeoutError) as error:
            logger.warning(
                "federation link '%s': queue '%s' is left behind at %s: %s",
                self.name,
                self._queue_name,
                self._uri,
                error_text(error),
            )

    # -- bindings --------------------------------------------------------------------------------------------------

    def bindings_changed(self) -> None:
        """The exchange here was bound or unbound: the upstream follows, many changes at once."""
        self._bindings_changed = True
        if self._commands is not None and (self._sync is None or self._sync.done()):
            self._sync = asyncio.create_task(
                self._follow(self._commands), name=f"{self.kind} {self.name} bindings"
            )

    async def _follow(self, commands: ClientChannel) -> None:
        try:
            while self._bindings_changed:
                self._bindings_changed = False
                wanted = self._wanted()
                await self._bind(commands, {k: v for k, v in wanted.items() if k not in self._bound})
                await self._unbind(commands, {k: v for k, v in self._bound.items() if k not in wanted})
        except (AmqpError, OSError) as error:
            self.fail(error)

    def _wanted(self) -> Bindings:
        """The distinct bindings that the upstream's exchange should have to our internal one."""
        wanted: Bindings = {}
        for binding in self.exchange.bindings.values():
            arguments = bound_from(
                binding.arguments,
                max_hops=self.upstream.max_hops,
                exchange=f"{self.vhost}:{self.exchange.name} {self._suffix}",
                cluster=self.broker.name,
                vhost=self.vhost,
                upstream_cluster=self._upstream_cluster,
                upstream_vhost=self._uri.vhost,
            )
            if arguments is not None:
                wanted[binding.routing_key, arguments_key(arguments)] = arguments
        return wanted

    async def _bind(self, commands: ClientChannel, bindings: Bindings) -> None:
        await self._pipeline(commands.bind_exchange, bindings)
        self._bound.update(bindings)

    async def _unbind(self, commands: ClientChannel, bindings: Bindings) -> None:
        await self._pipeline(commands.unbind_exchange, bindings)
        for key in bindings:
            del self._bound[key]

    async def _pipeline(
        self, call: Callable[[str, str, str, dict[str, Any]], Awaitable[None]], bindings: Bindings
    ) -> None:
        """One round trip for many, not one each: 40,000 at 100 ms would take an hour."""
        internal = f"{self._queue_name} {self._suffix}"
        todo = list(bindings.items())
        for start in range(0, len(todo), BINDS_AT_ONCE):
            await asyncio.gather(
                *[
                    call(internal, self._upstream_exchange, routing_key, arguments)
                    for (routing_key, _), arguments in todo[start : start + BINDS_AT_ONCE]
                ]
            )

    # -- status ----------------------------------------------------------------------------------------------------

    def _count(self) -> None:
        intake = self._intake
        if intake is not None:
            self.forwarded += intake.forwarded
            self.duplicates += intake.duplicates
            intake.forwarded = intake.duplicates = 0

    def tick(self, now_s: float) -> None:
        self._count()
        super().tick(now_s)

    @property
    def status(self) -> str:
        """In RabbitMQ's words."""
        if self.state == TERMINATED or (self.state == STARTING and self.last_error):
            return "error"
        return self.state

    def details(self) -> dict[str, Any]:
        self._count()
        row: dict[str, Any] = {
            "node": self.broker.name,
            "type": "exchange",
            "exchange": self.exchange.name,
            "upstream_exchange": self._upstream_exchange,
            "vhost": self.vhost,
            "upstream": self.upstream.name,
            "id": hashlib.blake2s(self._suffix_key.encode(), digest_size=4).hexdigest(),
            "status": self.status,
            "uri": str(self._uri),
            "timestamp": self.timestamp,
            "forwarded": self.forwarded,
            "duplicates": self.duplicates,
            "exactly_once": self._intake is not None and self._intake.is_sequenced,
            "rate": round(self.rate, 1),
            "reconnects": self.reconnects,
            "last_error": self.last_error,
        }
        if self.state == RUNNING:
            row["local_connection"] = f"<{self.broker.name}.federation.{row['id']}>"
        elif self.last_error:
            row["error"] = self.last_error
        return row
