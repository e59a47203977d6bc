"""Who may use the HTTP API: basic authentication against the broker's users, as in RabbitMQ's management plugin."""

import base64
import binascii
import logging
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from edge.auth.users import Auth, User
from edge.core.errors import AuthenticationFailed
from edge.management.responses import json
from edge.net.protocol import address_text, is_loopback

logger = logging.getLogger("edge.management")

TAGS: Final = frozenset({"management", "policymaker", "monitoring", "administrator"})
"""A user needs one of these to use the API at all."""
CHALLENGE: Final = {"www-authenticate": 'Basic realm="RabbitMQ Management"'}


class Access:
    """ASGI middleware: lets a request through with its user in ``scope["user"]``, or answers 401."""

    def __init__(self, app: ASGIApp, auth: Auth) -> None:
        self._app = app
        self._auth = auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # The server's start and end are the only other events, and they concern nobody's rights.
            await self._app(scope, receive, send)
            return
        try:
            user = self._log_in(scope)
        except AuthenticationFailed as error:
            logger.warning("HTTP %s: login failed: %s", address_text(scope["client"]), error.text)
            answer = json({"error": "not_authorized", "reason": "Login failed"}, 401, CHALLENGE)
            await answer(scope, receive, send)
            return
        if user is None:
            answer = json({"error": "not_authorized", "reason": "Not_Authorized"}, 401, CHALLENGE)
            await answer(scope, receive, send)
            return
        if TAGS.isdisjoint(user.tags):
            answer = json({"error": "not_authorised", "reason": "Not management user"}, 401)
            await answer(scope, receive, send)
            return
        # The server decodes %2F, the name of the default vhost, to a slash; routes need it as it was sent.
        path = scope["raw_path"].decode("ascii", errors="replace")
        await self._app({**scope, "user": user, "path": path}, receive, send)

    def _log_in(self, scope: Scope) -> User | None:
        """The request's user, None without credentials. Raises AuthenticationFailed."""
        header = Headers(scope=scope).get("authorization")
        if header is None:
            return None
        scheme, _, encoded = header.partition(" ")
        try:
            name, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise AuthenticationFailed("the Authorization header is not base64 of name:password") from error
        if scheme.lower() != "basic" or not colon:
            raise AuthenticationFailed("only basic authentication is supported")
        return self._auth.authenticate(name, password, is_loopback(scope["client"]))
