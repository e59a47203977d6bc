"""JSON answers: objects, listings with RabbitMQ's query parameters, and errors in its words."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from edge.auth.users import User
from edge.broker import Broker
from edge.core.vhost import VHost

Row = dict[str, Any]

PAGE_SIZE: Final = 100
PAGE_SIZE_MAX: Final = 500


class ApiError(HTTPException):
    """A refusal: HTTP status, RabbitMQ's ``error`` word and a reason for people."""

    def __init__(self, status: int, error: str, reason: str) -> None:
        super().__init__(status, reason)
        self.error = error


def not_found() -> ApiError:
    """What RabbitMQ answers for any path or object that is not there."""
    return ApiError(404, "Object Not Found", "Not Found")


def bad_request(reason: str) -> ApiError:
    return ApiError(400, "bad_request", reason)


def json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


def broker_of(request: Request) -> Broker:
    broker = request.app.state.broker
    assert isinstance(broker, Broker)
    return broker


def user_of(request: Request) -> User:
    """The user who logged in with this request."""
    user = request.scope["user"]
    assert isinstance(user, User)
    return user


def segment(request: Request, name: str) -> str:
    """A part of the path as it was meant: the router sees it still quoted, so that %2F parts nothing."""
    return unquote(request.path_params[name])


def visible_vhosts(request: Request) -> list[VHost]:
    """The vhosts whose objects the user may see: those he may enter; monitoring and administrators see all.

    A path with a vhost has but that one. Raises 404 when it is unknown or out of the user's sight.
    """
    broker, user = broker_of(request), user_of(request)
    sees_all = not {"administrator", "monitoring"}.isdisjoint(user.tags)
    seen = [
        vhost
        for vhost in broker.vhosts.values()
        if sees_all or (user.name, vhost.name) in broker.auth.permissions
    ]
    if "vhost" not in request.path_params:
        return seen
    wanted = segment(request, "vhost")
    seen = [vhost for vhost in seen if vhost.name == wanted]
    if not seen:
        raise not_found()
    return seen


def listing(request: Request, rows: Sequence[Row]) -> Response:
    """Answer with rows: ``columns``, ``sort``, ``sort_reverse``, ``name``, ``use_regex`` and paging as in RabbitMQ."""
    query = request.query_params
    total = len(rows)
    if "name" in query:
        rows = _named(rows, query["name"], query.get("use_regex") == "true")
    if sort := query.get("sort"):
        # Numbers before text, so that rows of mixed kinds can be put in order at all.
        rows = sorted(
            rows, key=lambda row: _sortable(_column(row, sort)), reverse=query.get("sort_reverse") == "true"
        )
    filtered = len(rows)
    paged = "page" in query or query.get("pagination") == "true"
    page, size = _number(query.get("page"), 1), _number(query.get("page_size"), PAGE_SIZE)
    if paged:
        size = min(size, PAGE_SIZE_MAX)
        rows = rows[(page - 1) * size : page * size]
    if columns := query.get("columns"):
        rows = [_only(row, columns.split(",")) for row in rows]
    if not paged:
        return json(rows)
    return json(
        {
            "items": rows,
            "item_count": len(rows),
            "filtered_count": filtered,
            "total_count": total,
            "page": page,
            "page_size": size,
            "page_count": max(1, -(-filtered // size)),
        }
    )


def _named(rows: Sequence[Row], pattern: str, use_regex: bool) -> Sequence[Row]:
    """Rows whose name contains the text. A user's regular expression could run for hours, so none is taken."""
    if use_regex:
        raise bad_request("use_regex is not supported; give a part of the name")
    return [row for row in rows if pattern.lower() in str(row.get("name", "")).lower()]


def _number(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not text.isdecimal() or int(text) < 1:
        raise bad_request(f"page and page_size must be whole numbers from 1, not {text!r}")
    return int(text)


def _column(row: Row, path: str) -> object:
    """``a.b`` is the column b of the object in column a."""
    value: object = row
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _only(row: Row, columns: Sequence[str]) -> Row:
    kept: Row = {}
    for path in columns:
        value = _column(row, path)
        if value is None:
            continue
        *parents, last = path.split(".")
        place = kept
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return kept


def _sortable(value: object) -> tuple[int, float, str]:
    if isinstance(value, int | float):
        return (0, value, "")
    return (1, 0.0, str(value)) if value is not None else (2, 0.0, "")
