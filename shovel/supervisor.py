"""Runs the shovels of a node, each on its own, and shows them at ``/api/shovels``."""

import logging
from collections.abc import Sequence

from edge.broker import Broker
from edge.core.errors import BrokerError, ConfigError
from edge.core.exchange import Exchange
from edge.parameters import SHOVEL, Parameter
from edge.tables import Table
from edge.uris import Uri
from edge.workers import Supervisor
from shovel.amqp091 import AmqpDestination, AmqpSource
from shovel.config import MQTT, ShovelConfig, read_shovel
from shovel.destination import Destination
from shovel.local import LocalDestination
from shovel.mqtt import MqttDestination
from shovel.source import LocalSource, Source
from shovel.worker import ShovelWorker

logger = logging.getLogger("shovel.supervisor")

ShovelKey = tuple[str, str]
"""vhost and name"""


class ShovelSupervisor(Supervisor):
    """The shovels of the configuration and of parameters. Raises ConfigError when a table of the former is wrong."""

    def __init__(self, broker: Broker, tables: Sequence[Table]) -> None:
        super().__init__(broker, "shovels")
        configs = [read_shovel(table) for table in tables]
        self._configured = {(config.vhost, config.name): config for config in configs}
        #: What runs.
        self._configs: dict[ShovelKey, ShovelConfig] = {}
        self._buffered: dict[ShovelKey, LocalSource] = {}

    def start(self) -> None:
        """Start all shovels. Their queues exist when it returns: whatever is published from now on is kept."""
        super().start()
        self.broker.listeners.append(self._on_topology)
        self.broker.parameters.listeners.append(self._on_parameter)
        for key, config in self._configured.items():
            self._run(key, config)
        for parameter in self.broker.parameters.list(SHOVEL):
            self._on_parameter(*parameter[:3])

    async def stop(self) -> None:
        if self._on_topology in self.broker.listeners:
            self.broker.listeners.remove(self._on_topology)
            self.broker.parameters.listeners.remove(self._on_parameter)
        await super().stop()

    def _on_parameter(self, vhost: str, component: str, name: str) -> None:
        """Start, change or end the shovel of a parameter, as RabbitMQ's dynamic shovels; no other one is touched."""
        if component != SHOVEL:
            return
        key = (vhost, name)
        parameter = self.broker.parameters.find(vhost, component, name)
        if key in self._configured:
            if parameter is not None:
                logger.warning("shovel '%s' in vhost '%s' stays as the configuration says", name, vhost)
            return
        config = None if parameter is None else _read(parameter)
        if config != self._configs.get(key):
            self._end(key, config)
            if config is not None:
                self._run(key, config)

    def _run(self, key: ShovelKey, config: ShovelConfig) -> None:
        source = self._source(key, config)
        self._configs[key] = config
        self.add(key, ShovelWorker(self.broker, config, source, lambda uri: self._destination(config, uri)))

    def _end(self, key: ShovelKey, successor: ShovelConfig | None) -> None:
        """End a shovel; the buffer of its source goes too, unless its successor reads from that."""
        task = self.discard(key)
        self._configs.pop(key, None)
        buffered = self._buffered.pop(key, None)
        if task is None:
            return
        logger.info(
            "shovel '%s' in vhost '%s' %s", key[1], key[0], "is changed" if successor else "is cleared"
        )
        if buffered is not None and (successor is None or not buffered.feeds(successor)):
            buffered.unbind()
            task.add_done_callback(lambda _: self._drop(key, buffered))

    def _drop(self, key: ShovelKey, buffered: LocalSource) -> None:
        # A shovel of the same name may have come meanwhile.
        if key not in self._buffered:
            buffered.delete_if_empty()

    def _source(self, key: ShovelKey, config: ShovelConfig) -> Source:
        if not config.source.is_local:
            return AmqpSource(self.broker, config)
        source = LocalSource(self.broker, config)
        if config.source.exchange is not None:
            self._buffered[key] = source
        try:
            source.prepare()
        except BrokerError as error:
            # An exchange that is not there yet is bound by ``_on_topology`` once it is.
            logger.info("shovel '%s' waits for its source: %s", config.name, error.text)
        return source

    def _destination(self, config: ShovelConfig, uri: Uri) -> Destination:
        if uri.is_local:
            return LocalDestination(self.broker, config, uri)
        if config.destination.protocol == MQTT:
            return MqttDestination(self.broker, config, uri)
        return AmqpDestination(self.broker, config, uri)

    def _on_topology(self, event: str, subject: object) -> None:
        """Bind buffer queues to an exchange as soon as it is declared: nothing published to it may pass them by."""
        if event == "exchange.created" and isinstance(subject, Exchange):
            for source in self._buffered.values():
                if source.wants_exchange(subject.vhost, subject.name):
                    source.prepare()


def _read(parameter: Parameter) -> ShovelConfig | None:
    """None for what an older version has let in: that shovel does not run, and the node does."""
    try:
        return read_shovel(parameter.table())
    except ConfigError as error:
        logger.error("%s", error.text)
        return None
