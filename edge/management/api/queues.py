"""/api/queues."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.management import serializers
from edge.management.responses import broker_of, json, listing, not_found, segment, visible_vhosts


async def list_queues(request: Request) -> Response:
    broker = broker_of(request)
    queues = [queue for vhost in visible_vhosts(request) for queue in vhost.queues.values()]
    return listing(request, [serializers.queue(broker, queue) for queue in queues])


async def get_queue(request: Request) -> Response:
    (vhost,) = visible_vhosts(request)
    queue = vhost.queues.get(segment(request, "name"))
    if queue is None:
        raise not_found()
    consumers = [serializers.consumer(consumer) for consumer in queue.consumers]
    return json({**serializers.queue(broker_of(request), queue), "consumer_details": consumers})


ROUTES = [
    Route("/api/queues", list_queues),
    Route("/api/queues/{vhost}", list_queues),
    Route("/api/queues/{vhost}/{name}", get_queue),
]
