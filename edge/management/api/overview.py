"""/api/overview, /api/whoami, /api/cluster-name."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.management import serializers
from edge.management.api.connections import visible_connections
from edge.management.responses import broker_of, json, user_of, visible_vhosts


async def overview(request: Request) -> Response:
    """The node at a glance: versions, listeners, totals and rates of what the user may see."""
    state, broker, vhosts = request.app.state, broker_of(request), visible_vhosts(request)
    return json(
        {
            **serializers.overview(broker, state.listening),
            "message_stats": state.rates.with_details(serializers.counters(broker)),
            "queue_totals": state.rates.with_details(serializers.queue_totals(vhosts)),
            "object_totals": serializers.object_totals(broker, vhosts, visible_connections(request)),
        }
    )


async def whoami(request: Request) -> Response:
    return json(serializers.user(user_of(request)))


async def cluster_name(request: Request) -> Response:
    return json({"name": broker_of(request).name})


ROUTES = [
    Route("/api/overview", overview),
    Route("/api/whoami", whoami),
    Route("/api/cluster-name", cluster_name),
]
