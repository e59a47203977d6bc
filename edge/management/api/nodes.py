"""/api/nodes: one row, for a node is a cluster of one."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.management import serializers
from edge.management.responses import broker_of, json, listing, not_found, segment


async def list_nodes(request: Request) -> Response:
    return listing(request, [serializers.node(broker_of(request))])


async def get_node(request: Request) -> Response:
    broker = broker_of(request)
    if segment(request, "name") != broker.name:
        raise not_found()
    return json(serializers.node(broker))


ROUTES = [Route("/api/nodes", list_nodes), Route("/api/nodes/{name}", get_node)]
