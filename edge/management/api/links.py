"""/api/shovels and /api/federation-links: what shovels and links themselves report to the broker."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.management.responses import Row, broker_of, listing, visible_vhosts


def _rows(request: Request, source: str) -> list[Row]:
    """Rows of a status source in the vhosts that the user may see; none when no shovel or link is configured."""
    report = broker_of(request).status_sources.get(source)
    seen = {vhost.name for vhost in visible_vhosts(request)}
    return [row for row in report() if row["vhost"] in seen] if report is not None else []


async def list_shovels(request: Request) -> Response:
    return listing(request, _rows(request, "shovels"))


async def list_federation_links(request: Request) -> Response:
    return listing(request, _rows(request, "federation-links"))


ROUTES = [
    Route("/api/shovels", list_shovels),
    Route("/api/shovels/{vhost}", list_shovels),
    Route("/api/federation-links", list_federation_links),
    Route("/api/federation-links/{vhost}", list_federation_links),
]
