"""/api/exchanges."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.core.names import DEFAULT_EXCHANGE
from edge.management import serializers
from edge.management.responses import broker_of, json, listing, not_found, segment, visible_vhosts

DEFAULT_EXCHANGE_IN_PATHS = "amq.default"
"""The default exchange has no name, and an empty segment would be lost from a path (RabbitMQ's convention)."""


async def list_exchanges(request: Request) -> Response:
    broker = broker_of(request)
    exchanges = [exchange for vhost in visible_vhosts(request) for exchange in vhost.exchanges.values()]
    return listing(request, [serializers.exchange(broker, exchange) for exchange in exchanges])


async def get_exchange(request: Request) -> Response:
    (vhost,) = visible_vhosts(request)
    name = segment(request, "name")
    exchange = vhost.exchanges.get(DEFAULT_EXCHANGE if name == DEFAULT_EXCHANGE_IN_PATHS else name)
    if exchange is None:
        raise not_found()
    return json(serializers.exchange(broker_of(request), exchange))


ROUTES = [
    Route("/api/exchanges", list_exchanges),
    Route("/api/exchanges/{vhost}", list_exchanges),
    Route("/api/exchanges/{vhost}/{name}", get_exchange),
]
