"""The application: all routes, the errors' form, and the way in."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from edge.broker import Broker
from edge.management.access import Access
from edge.management.api import (
    bindings,
    connections,
    definitions,
    exchanges,
    health,
    links,
    nodes,
    overview,
    parameters,
    queues,
    vhosts,
)
from edge.management.rates import Rates
from edge.management.responses import ApiError, json, not_found
from edge.settings import Address

RESOURCES = (
    *(overview, nodes, vhosts, queues, exchanges, bindings, connections, definitions, parameters, links),
    health,
)
"""A resource is a module with its ROUTES."""


def build_app(broker: Broker, rates: Rates, listening: list[tuple[str, Address]]) -> ASGIApp:
    """The API over a broker; ``listening`` is what the node listens on, by protocol, and is read at each request."""
    app = Starlette(
        routes=[route for resource in RESOURCES for route in resource.ROUTES],
        exception_handlers={HTTPException: _refused},
    )
    app.router.redirect_slashes = False
    app.state.broker = broker
    app.state.rates = rates
    app.state.listening = listening
    return Access(app, broker.auth)


async def _refused(request: Request, error: Exception) -> Response:
    """An error raised anywhere, in RabbitMQ's words."""
    if isinstance(error, ApiError):
        return json({"error": error.error, "reason": error.detail}, error.status_code)
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return await _refused(request, not_found())
    return Response(None, error.status_code, error.headers)
