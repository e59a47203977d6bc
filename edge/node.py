"""The composition root: builds a node from its configuration, starts its parts in order and stops them in reverse.

The only module that knows all others; a new protocol is one folder and one line in ``_services``.
"""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from edge.amqp091.ack_timeout import AckTimeouts
from edge.amqp091.server import AmqpServerProtocol
from edge.auth.users import Auth
from edge.broker import Broker
from edge.clock import Clock
from edge.config import Config
from edge.core.errors import ConfigError, NotFound
from edge.core.policy import Policy
from edge.definitions.document import read_definitions
from edge.definitions.importing import import_definitions
from edge.net.listening import listen_error
from edge.parameters import SHOVEL, UPSTREAM, UPSTREAM_SET, Parameter
from edge.settings import Address, Listeners
from edge.store.device import check_device, sqlite_note
from edge.store.store import Store
from mqtt.limits import MqttLimits
from mqtt.server import MqttServerProtocol
from mqtt.service import MqttService

logger = logging.getLogger("edge.node")

STOP_TIMEOUT_S: Final = 4.0
"""What the parts have to stop in; then the store is closed whatever they do. The whole stop stays within 5 s."""
SAVE_CLOCK_S: Final = 60.0
"""How much elapsed time a power cut may lose: messages then live that much longer than their TTL."""
GC_THRESHOLD: Final = 50_000
"""Allocations between two collections. Messages are not tracked and queues hold no cycles, so there is little to find,
and the default of 700 would search on every read."""


class Node:
    """One running node."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        self.config = config
        self.store = Store(
            config.node.data_dir,
            config.store.bytes_max,
            config.store.disk_free_min_bytes,
            config.store.lazy_delay_ms,
        )
        self._clock = clock or Clock()
        self._broker: Broker | None = None
        #: What the node listens on, by protocol, with the ports that the system chose.
        self.listening: list[tuple[str, Address]] = []
        #: What a person should know at this start, beside warnings about the device.
        self.notes: list[str] = []
        self._servers: list[asyncio.Server] = []
        self._stops: list[Callable[[], Awaitable[None]]] = []
        self._has_shovels = False
        self._has_federation = False
        self.mqtt: MqttService
        self.ack_timeouts: AckTimeouts | None = None
        self._tasks: list[asyncio.Task[None]] = []
        #: Set when the node cannot go on: its store's writer has died.
        self.failed = asyncio.Event()

    @property
    def broker(self) -> Broker:
        assert self._broker is not None, "the node is not started"
        return self._broker

    async def start(self) -> None:
        """Open the store and the listeners.

        Raises StartupError when the data directory is in use or a port is taken, StoreError for a store that this
        version does not read; whatever was started is stopped again.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        config = self.config
        await self.store.open()
        self._check_device()
        self._stops.append(self.store.close)
        auth = Auth(config.mqtt.anonymous_user)
        broker = self._broker = Broker(config.node.name, self.store, self._clock, auth)
        self._stops.append(broker.close)
        mqtt = self.mqtt = MqttService(broker, MqttLimits.of(config.mqtt))
        definitions = config.definitions.file
        is_new = await broker.recover(with_defaults=not definitions)
        await mqtt.recover()
        self._stops.append(mqtt.stop)
        broker.parameters.checks = parameter_checks()
        if definitions:
            self._import(broker, definitions, is_new)
        self._set_policies(broker)
        broker.resume()
        self._tasks.append(asyncio.create_task(self._save_clock(), name="save clock"))
        self._tasks.append(asyncio.create_task(self._watch_writer(), name="watch store writer"))
        self._start_links(broker)
        self.ack_timeouts = AckTimeouts(broker, config.amqp.consumer_timeout_ms)
        self.ack_timeouts.start()
        await self._listen("amqp", config.listeners.amqp, lambda: AmqpServerProtocol(broker, config.amqp))
        await self._listen("mqtt", config.listeners.mqtt, lambda: MqttServerProtocol(mqtt))
        if config.listeners.http:
            await self._start_management(broker, config.listeners.http)
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 20, 100)

    def _import(self, broker: Broker, file: Path, is_new: bool) -> None:
        """Bring the definitions file in; a new node says what follows from having nothing else (RabbitMQ)."""
        try:
            import_definitions(broker, read_definitions(file))
        except ConfigError as error:
            hint = "; a new node has the vhosts and users of this file alone" if is_new else ""
            raise ConfigError(error.text + hint) from error
        if not is_new:
            return
        vhosts, users = [", ".join(sorted(names)) or "none" for names in (broker.vhosts, broker.auth.users)]
        self.notes.append(f"new node: vhosts ({vhosts}) and users ({users}) are those of {file} alone")
        if not broker.auth.users:
            self.notes.append(f"nobody can log in: add users to {file} and start again")
        elif (anonymous := self.config.mqtt.anonymous_user) and anonymous not in broker.auth.users:
            self.notes.append(
                f"MQTT clients without credentials are refused: there is no user '{anonymous}';"
                " add it, or set [mqtt] anonymous_user"
            )
        for note in self.notes:
            logger.warning("%s", note)

    def _set_policies(self, broker: Broker) -> None:
        policies = [
            Policy(
                table["vhost"],
                table["name"],
                table["pattern"],
                table["definition"],
                apply_to=table["apply-to"],
                priority=table["priority"],
            )
            for table in self.config.policies
        ]
        try:
            broker.set_policy(*policies, stored=False)
        except NotFound as error:
            raise ConfigError(f"{self.config.path}: [[policy]]: {error.text}") from error

    def _check_device(self) -> None:
        if (note := sqlite_note()) is not None:
            logger.info("%s", note)
        self.store.warnings = check_device(self.store.directory)
        for warning in self.store.warnings:
            logger.warning("%s", warning)

    def _start_links(self, broker: Broker) -> None:
        """What runs links is loaded when there is one, in the configuration or as a parameter that comes any time."""
        parameters = broker.parameters
        if self.config.shovels or parameters.list(SHOVEL):
            self._start_shovels()
        if self.config.federation_upstreams or parameters.list(UPSTREAM):
            self._start_federation()
        parameters.listeners.append(self._on_parameter)

    def _on_parameter(self, vhost: str, component: str, name: str) -> None:
        if component == SHOVEL and not self._has_shovels:
            self._start_shovels()
        elif component == UPSTREAM and not self._has_federation:
            self._start_federation()

    def _start_shovels(self) -> None:
        from shovel.supervisor import ShovelSupervisor

        shovels = ShovelSupervisor(self.broker, self.config.shovels)
        self._has_shovels = True
        self._stops.append(shovels.stop)
        shovels.start()

    def _start_federation(self) -> None:
        from federation.supervisor import FederationSupervisor

        federation = FederationSupervisor(self.broker, self.config.federation_upstreams)
        self._has_federation = True
        self._stops.append(federation.stop)
        federation.start()

    async def _start_management(self, broker: Broker, addresses: Listeners) -> None:
        # Loaded only when it listens: starlette and uvicorn take 9 MB.
        from edge.management.server import ManagementServer

        management = ManagementServer(broker, addresses, self.listening)
        self._stops.append(management.stop)
        self.listening += [("http", address) for address in await management.start()]

    async def _listen(
        self, name: str, addresses: Listeners, factory: Callable[[], asyncio.BaseProtocol]
    ) -> None:
        loop = asyncio.get_running_loop()
        for address in addresses:
            try:
                server = await loop.create_server(factory, address.host, address.port, backlog=1024)
            except OSError as error:
                raise listen_error(name, address, error) from error
            self._servers.append(server)
            self.listening += [(name, Address(*bound.getsockname()[:2])) for bound in server.sockets]

    async def stop(self) -> None:
        """Close connections by their protocols' means, stop the links, write what has gathered and close the store."""
        for server in self._servers:
            server.close()
        if self._broker is not None:
            for connection in list(self._broker.connections.values()):
                connection.shut_down("the node is stopping")
        if self.ack_timeouts is not None:
            self.ack_timeouts.stop()
        for task in self._tasks:
            task.cancel()
        if self._broker is not None:
            self._broker.save_clock()
        while self._stops:
            stop = self._stops.pop()
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await stop()
            except TimeoutError:
                logger.warning("%s did not stop within %.0f s", stop.__qualname__, STOP_TIMEOUT_S)

    async def _save_clock(self) -> None:
        while True:
            await asyncio.sleep(SAVE_CLOCK_S)
            self.broker.save_clock()

    async def _watch_writer(self) -> None:
        """Without its writer a node confirms nothing any more: better that it stops and is started again."""
        error = await self.store.writer_failed()
        logger.critical("the store's writer has died, the node stops", exc_info=error)
        self.failed.set()


def parameter_checks() -> dict[str, Callable[[Parameter], None]]:
    """Component -> what raises ConfigError for a parameter's value that cannot be used."""
    return {SHOVEL: _check_shovel, UPSTREAM: _check_upstream, UPSTREAM_SET: _check_upstream_set}


def _check_shovel(parameter: Parameter) -> None:
    # Loaded only when there is one.
    from shovel.config import read_shovel

    read_shovel(parameter.table())


def _check_upstream(parameter: Parameter) -> None:
    from federation.upstream import read_upstream

    read_upstream(parameter.table())


def _check_upstream_set(parameter: Parameter) -> None:
    from federation.upstreams import read_set

    read_set(parameter)
