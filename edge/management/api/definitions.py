"""/api/definitions: the export and import of a whole node or of one vhost, in RabbitMQ's format."""

import email
import email.policy

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.core.errors import ConfigError
from edge.definitions.document import parse_definitions
from edge.definitions.exporting import export_definitions, export_vhost
from edge.definitions.importing import import_definitions
from edge.management.responses import ApiError, bad_request, broker_of, json, user_of, visible_vhosts
from edge.management.serializers import COMPATIBLE_VERSION

BODY_BYTES_MAX = 64 * 1024 * 1024
"""Of an import: RabbitMQ's ``management.http.max_body_size`` is 20 MB; 100,000 queues with bindings have 30."""


async def get_definitions(request: Request) -> Response:
    _check_administrator(request)
    return _download(request, export_definitions(broker_of(request), COMPATIBLE_VERSION))


async def get_vhost_definitions(request: Request) -> Response:
    _check_administrator(request)
    (vhost,) = visible_vhosts(request)
    return _download(request, export_vhost(broker_of(request), vhost, COMPATIBLE_VERSION))


async def post_definitions(request: Request) -> Response:
    return await _import(request, None)


async def post_vhost_definitions(request: Request) -> Response:
    (vhost,) = visible_vhosts(request)
    return await _import(request, vhost.name)


async def _import(request: Request, vhost: str | None) -> Response:
    """204 when all of it is on the disk, 400 with the mistake; what came before the mistake stays, as in RabbitMQ."""
    _check_administrator(request)
    broker = broker_of(request)
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > BODY_BYTES_MAX:
            raise bad_request(f"a definitions file of more than {BODY_BYTES_MAX} bytes is not taken")
    try:
        content = _file_of(request.headers.get("content-type", ""), bytes(data))
        import_definitions(broker, parse_definitions(content, "definitions", vhost))
    except ConfigError as error:
        raise bad_request(error.text) from error
    finally:
        await broker.store.committed()
    return Response(None, 204)


def _file_of(content_type: str, data: bytes) -> bytes:
    """The body, or the field ``file`` of a form: what the upload of RabbitMQ's page and of older scripts is."""
    if not content_type.startswith("multipart/form-data"):
        return data
    form = email.message_from_bytes(
        b"Content-Type: " + content_type.encode("latin-1") + b"\r\n\r\n" + data, policy=email.policy.HTTP
    )
    for part in form.iter_parts():
        if part.get_param("name", header="content-disposition") == "file":
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            return content
    raise ConfigError("definitions: the form has no field 'file'")


def _download(request: Request, document: object) -> Response:
    name = request.query_params.get("download")
    headers = {"content-disposition": f"attachment; filename={name}"} if name and name.isprintable() else {}
    return json(document, headers=headers)


def _check_administrator(request: Request) -> None:
    if "administrator" not in user_of(request).tags:
        raise ApiError(401, "not_authorised", "Not administrator user")


ROUTES = [
    Route("/api/definitions", get_definitions, methods=["GET"]),
    Route("/api/definitions", post_definitions, methods=["POST"]),
    Route("/api/definitions/{vhost}", get_vhost_definitions, methods=["GET"]),
    Route("/api/definitions/{vhost}", post_vhost_definitions, methods=["POST"]),
]
