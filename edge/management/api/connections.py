"""/api/connections."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.management.responses import Row, broker_of, json, listing, not_found, segment, user_of


def visible_connections(request: Request) -> list[Row]:
    """All connections for monitoring users and administrators, for others their own."""
    rows = [connection.details() for connection in broker_of(request).connections.values()]
    user = user_of(request)
    if {"administrator", "monitoring"}.isdisjoint(user.tags):
        rows = [row for row in rows if row.get("user") == user.name]
    return rows


async def list_connections(request: Request) -> Response:
    return listing(request, visible_connections(request))


async def get_connection(request: Request) -> Response:
    name = segment(request, "name")
    for row in visible_connections(request):
        if row.get("name") == name:
            return json(row)
    raise not_found()


ROUTES = [Route("/api/connections", list_connections), Route("/api/connections/{name}", get_connection)]
