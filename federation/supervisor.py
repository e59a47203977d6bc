"""Keeps one link for each federated exchange and upstream, and shows them at ``/api/federation-links``."""

from collections.abc import Sequence

from edge.broker import Broker
from edge.core.binding import Binding
from edge.core.exchange import Exchange
from edge.parameters import UPSTREAM, UPSTREAM_SET
from edge.tables import Table
from edge.workers import Supervisor
from federation.exchange_link import ExchangeLink
from federation.progress import Progress
from federation.upstream import Upstream
from federation.upstreams import Upstreams

LinkKey = tuple[str, str, str, str]
"""vhost, exchange, upstream, exchange there"""


class FederationSupervisor(Supervisor):
    """Links by policy to upstreams. Raises ConfigError when a table of the configuration is wrong."""

    def __init__(self, broker: Broker, tables: Sequence[Table]) -> None:
        super().__init__(broker, "federation-links")
        self._upstreams = Upstreams(broker.parameters, tables)
        self._progress: dict[str, Progress] = {}

    def start(self) -> None:
        """Start the links that policies ask for; others follow as exchanges, policies and upstreams come and go."""
        super().start()
        self.broker.listeners.append(self._on_topology)
        self.broker.parameters.listeners.append(self._on_parameter)
        self.refresh()

    async def stop(self) -> None:
        if self._on_topology in self.broker.listeners:
            self.broker.listeners.remove(self._on_topology)
            self.broker.parameters.listeners.remove(self._on_parameter)
        await super().stop()

    def refresh(self) -> None:
        """Follow a change of policies or upstreams."""
        for vhost in self.broker.vhosts.values():
            for exchange in vhost.exchanges.values():
                self._follow(exchange)

    def _follow(self, exchange: Exchange) -> None:
        wanted = self._upstreams.wanted(self.broker.policy_for(exchange), exchange)
        keys = {_key(exchange, upstream): upstream for upstream in wanted}
        for key in [key for key in self._links_of(exchange) if key not in keys]:
            self._retire(key)
        links = self._links_of(exchange)
        for key, upstream in keys.items():
            if key in links and links[key].upstream != upstream:
                # What the upstream keeps for us stays there for the new link.
                self.discard(key)
            if key not in self.workers:
                self.add(key, ExchangeLink(self.broker, exchange, upstream, self._progress))

    def _links_of(self, exchange: Exchange) -> dict[LinkKey, ExchangeLink]:
        found: dict[LinkKey, ExchangeLink] = {}
        for link in self.workers.values():
            if isinstance(link, ExchangeLink) and link.exchange is exchange:
                found[_key(exchange, link.upstream)] = link
        return found

    def _retire(self, key: LinkKey) -> None:
        link = self.workers[key]
        assert isinstance(link, ExchangeLink)
        link.is_retiring = True
        self.discard(key)

    def _on_parameter(self, vhost: str, component: str, name: str) -> None:
        if component in (UPSTREAM, UPSTREAM_SET):
            self._upstreams.read()
            self.refresh()

    def _on_topology(self, event: str, subject: object) -> None:
        if event == "policies.changed":
            self.refresh()
        elif isinstance(subject, Exchange):
            if event == "exchange.created":
                self._follow(subject)
            else:
                for key in self._links_of(subject):
                    self._retire(key)
        elif isinstance(subject, Binding):
            for link in self._links_of(subject.source).values():
                link.bindings_changed()


def _key(exchange: Exchange, upstream: Upstream) -> LinkKey:
    return exchange.vhost, exchange.name, upstream.name, upstream.exchange or exchange.name
