"""What all drivers written in Python have in common: the lines of ``tests.interop.driver``, and bodies."""

import base64
import hashlib
import json
import queue
import sys
import threading
from collections.abc import Mapping
from typing import Any

BODY_SHOWN_MAX_BYTES = 4096
"""A longer body is shown by its size and hash."""

Json = Any

_output = threading.Lock()


def send(line: Mapping[str, Json]) -> None:
    with _output:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


class Fault(Exception):
    """The broker has refused an operation, by closing its ``scope``: channel, connection or client."""

    def __init__(self, scope: str, code: int, text: str) -> None:
        super().__init__(scope, code, text)
        self.answer = {"error": {"scope": scope, "code": code, "text": text}}


def requests() -> queue.Queue[Json]:
    """The requests, read by a thread of their own, and None after the last one."""
    lines: queue.Queue[Json] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(json.loads(line))
        lines.put(None)

    threading.Thread(target=read, name="requests", daemon=True).start()
    return lines


def body_of(request: Json) -> bytes:
    """The body to be published: as it stands, or ``size`` bytes of a pattern."""
    size = request["size"]
    if size is None:
        return str(request["body"]).encode()
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


def shown(body: bytes) -> Json:
    if len(body) > BODY_SHOWN_MAX_BYTES:
        return {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    try:
        return body.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}
