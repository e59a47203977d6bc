"""/api/parameters: shovels, federation upstreams and sets of those, made, changed and cleared while the node runs."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.core.errors import ConfigError
from edge.management.responses import (
    ApiError,
    Row,
    bad_request,
    broker_of,
    json,
    listing,
    not_found,
    segment,
    user_of,
    visible_vhosts,
)
from edge.parameters import COMPONENTS, Parameter

BODY_BYTES_MAX = 1024 * 1024
"""Of one parameter; the longest that make sense are sets of some hundred upstreams."""


class Body(msgspec.Struct):
    """Component, vhost and name may stand beside the value, and the path counts (RabbitMQ)."""

    value: object


async def list_parameters(request: Request) -> Response:
    _check_policymaker(request)
    seen = {vhost.name for vhost in visible_vhosts(request)}
    component = segment(request, "component") if "component" in request.path_params else ""
    found = broker_of(request).parameters.list(component)
    return listing(request, [_row(parameter) for parameter in found if parameter.vhost in seen])


async def get_parameter(request: Request) -> Response:
    _check_policymaker(request)
    found = broker_of(request).parameters.find(*_key(request))
    if found is None:
        raise not_found()
    return json(_row(found))


async def put_parameter(request: Request) -> Response:
    """201 for a new one, 204 for a changed one, when it is on the disk; 400 with what is wrong with the value."""
    _check_policymaker(request)
    broker, key = broker_of(request), _key(request)
    if key[1] not in COMPONENTS:
        raise bad_request(f"component '{key[1]}' not found")
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > BODY_BYTES_MAX:
            raise bad_request(f"a parameter of more than {BODY_BYTES_MAX} bytes is not taken")
    is_new = broker.parameters.find(*key) is None
    try:
        broker.parameters.put(Parameter(*key, msgspec.json.decode(data, type=Body).value))
    except (msgspec.DecodeError, ConfigError) as error:
        raise bad_request(str(error)) from error
    await broker.store.committed()
    return Response(None, 201 if is_new else 204)


async def delete_parameter(request: Request) -> Response:
    _check_policymaker(request)
    broker = broker_of(request)
    if not broker.parameters.clear(*_key(request)):
        raise not_found()
    await broker.store.committed()
    return Response(None, 204)


def _key(request: Request) -> tuple[str, str, str]:
    (vhost,) = visible_vhosts(request)
    return vhost.name, segment(request, "component"), segment(request, "name")


def _row(parameter: Parameter) -> Row:
    """In full, with the passwords of URIs, as in RabbitMQ: who may see a parameter may change it."""
    return {
        "value": parameter.value,
        "vhost": parameter.vhost,
        "component": parameter.component,
        "name": parameter.name,
    }


def _check_policymaker(request: Request) -> None:
    if not {"policymaker", "administrator"} & set(user_of(request).tags):
        raise ApiError(401, "not_authorised", "Not policymaker user")


ONE = "/api/parameters/{component}/{vhost}/{name}"
ROUTES = [
    Route("/api/parameters", list_parameters),
    Route("/api/parameters/{component}", list_parameters),
    Route("/api/parameters/{component}/{vhost}", list_parameters),
    Route(ONE, get_parameter),
    Route(ONE, put_parameter, methods=["PUT"]),
    Route(ONE, delete_parameter, methods=["DELETE"]),
]
