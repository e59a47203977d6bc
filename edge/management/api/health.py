"""/api/health/checks: 200 when all is well, 503 with the reason when not."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.management.responses import broker_of, json


async def alarms(request: Request) -> Response:
    """Whether the store takes what is published; while it cannot, publishers are blocked."""
    broker = broker_of(request)
    if not broker.store.is_failing and not broker.is_full:
        return json({"status": "ok"})
    return json(
        {
            "status": "failed",
            "reason": "There are alarms in effect in the cluster",
            "alarms": [{"node": broker.name, "resource": "disk"}],
        },
        503,
    )


ROUTES = [
    Route("/api/health/checks/alarms", alarms),
    Route("/api/health/checks/local-alarms", alarms),
]
