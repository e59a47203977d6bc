"""The HTTP API of a running node, for the commands that ask it."""

import base64
import functools
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from edge.log import redact

P = ParamSpec("P")
R = TypeVar("R")

TIMEOUT_S = 10.0
"""A node answers in milliseconds; one that does not within this time is stuck or not ours."""


class Api:
    """Requests to one node. Raises click.ClickException, exit status 1, with what to try."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url.rstrip("/")
        self._user = user
        self._authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def get(self, path: str) -> Any:
        """The decoded JSON of ``path``, "/api/..."."""
        return json.loads(self._ask(path, None))

    def post(self, path: str, body: bytes) -> None:
        """Send JSON to ``path``."""
        self._ask(path, body)

    def _ask(self, path: str, body: bytes | None) -> bytes:
        if not self.url.startswith(("http://", "https://")):
            raise click.UsageError(f"--url must begin with http:// or https://, not {self.url!r}")
        headers = {"Authorization": self._authorization, "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, body, headers)  # noqa: S310  # checked above
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
                answer: bytes = response.read()
                return answer
        except urllib.error.HTTPError as error:
            raise click.ClickException(self._refusal(path, error)) from error
        # HTTPException: what answers does not speak HTTP; it may be another listener.
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = "no HTTP comes back" if isinstance(error, http.client.BadStatusLine) else error
            reason = getattr(error, "reason", reason)
            raise click.ClickException(
                f"no node answers at {redact(self.url)}: {reason}; is it running (leveret run), and is --url right?"
            ) from error

    def _refusal(self, path: str, error: urllib.error.HTTPError) -> str:
        with error:
            body = error.read().decode(errors="replace")
        try:
            reason = str(json.loads(body)["reason"])
        except (ValueError, KeyError, TypeError):
            reason = error.reason
        if error.code == 401:
            return f"the node refused user '{self._user}': {reason}; try --user and --password"
        return f"the node answered {error.code} for {path}: {reason}"


def api_options(command: Callable[Concatenate[Api, P], R]) -> Callable[P, R]:
    """``--url``, ``--user`` and ``--password``; the function gets an ``Api`` as its first argument."""

    @click.option(
        "--url",
        envvar="LEVERET_URL",
        default="http://127.0.0.1:15672",
        show_default=True,
        show_envvar=True,
        help="The node's HTTP listener.",
    )
    @click.option(
        "--user",
        envvar="LEVERET_USER",
        default="guest",
        show_default=True,
        show_envvar=True,
        help="With the tag monitoring or administrator.",
    )
    @click.option(
        "--password", envvar="LEVERET_PASSWORD", default="guest", show_envvar=True, help="[default: guest]"
    )
    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        url, user, password = (str(kwargs.pop(name)) for name in ("url", "user", "password"))
        return command(Api(url, user, password), *args, **kwargs)

    return wrapped


def segment(name: str) -> str:
    """A name as one segment of a path: ``/`` becomes %2F."""
    return urllib.parse.quote(name, safe="")
