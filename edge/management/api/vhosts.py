"""/api/vhosts."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.management import serializers
from edge.management.responses import broker_of, json, listing, visible_vhosts


async def list_vhosts(request: Request) -> Response:
    broker = broker_of(request)
    return listing(request, [serializers.vhost(broker, vhost) for vhost in visible_vhosts(request)])


async def get_vhost(request: Request) -> Response:
    (vhost,) = visible_vhosts(request)
    return json(serializers.vhost(broker_of(request), vhost))


ROUTES = [Route("/api/vhosts", list_vhosts), Route("/api/vhosts/{vhost}", get_vhost)]
