"""The exchange types, one file each (AMQP 0-9-1, section 3.1.3; RabbitMQ's plugins)."""

from typing import Final

from edge.core.exchange import Exchange
from edge.core.exchanges.direct import DirectExchange
from edge.core.exchanges.fanout import FanoutExchange
from edge.core.exchanges.federation_upstream import FederationUpstreamExchange
from edge.core.exchanges.hashing import ConsistentHashExchange, ModulusHashExchange
from edge.core.exchanges.headers import HeadersExchange
from edge.core.exchanges.random import LocalRandomExchange, RandomExchange
from edge.core.exchanges.recent_history import RecentHistoryExchange
from edge.core.exchanges.topic import TopicExchange

TYPES: Final[dict[str, type[Exchange]]] = {
    kind.type: kind
    for kind in (
        DirectExchange,
        FanoutExchange,
        TopicExchange,
        HeadersExchange,
        ConsistentHashExchange,
        ModulusHashExchange,
        RandomExchange,
        LocalRandomExchange,
        RecentHistoryExchange,
        FederationUpstreamExchange,
    )
}
