"""/api/bindings."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.management import serializers
from edge.management.responses import listing, visible_vhosts


async def list_bindings(request: Request) -> Response:
    rows = []
    for vhost in visible_vhosts(request):
        rows += [serializers.default_binding(queue) for queue in vhost.queues.values()]
        rows += [serializers.binding(binding) for binding in vhost.bindings()]
    return listing(request, rows)


ROUTES = [Route("/api/bindings", list_bindings), Route("/api/bindings/{vhost}", list_bindings)]
