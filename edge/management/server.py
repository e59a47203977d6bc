"""The HTTP listener: uvicorn's protocol in the node's own event loop, without uvicorn's main loop and signals."""

import socket
from collections.abc import Iterable

import uvicorn

from edge.broker import Broker
from edge.management import serializers
from edge.management.app import build_app
from edge.management.rates import Rates
from edge.net.listening import listen_error
from edge.settings import Address

STOP_TIMEOUT_S = 1
"""Answers take milliseconds; who has not read one by then is not waited for."""


class ManagementServer:
    """Serves the HTTP API on the given addresses until ``stop``."""

    def __init__(
        self, broker: Broker, addresses: Iterable[Address], listening: list[tuple[str, Address]]
    ) -> None:
        self._addresses = list(addresses)
        self._rates = Rates(lambda: _counters(broker))
        app = build_app(broker, self._rates, listening)
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            # Both are filled in by uvicorn's main loop, which wakes ten times a second; ours does without.
            date_header=False,
            server_header=False,
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
        )
        config.load()
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)
        self._sockets: list[socket.socket] = []

    async def start(self) -> list[Address]:
        """Listen; returns the addresses with the ports that the system chose. StartupError when one is taken."""
        self._sockets = [_listen(address) for address in self._addresses]
        await self._server.startup(sockets=self._sockets)
        self._rates.start()
        return [Address(*listener.getsockname()[:2]) for listener in self._sockets]

    async def stop(self) -> None:
        """Stop listening, let running requests end."""
        self._rates.stop()
        await self._server.shutdown(sockets=self._sockets)


def _counters(broker: Broker) -> dict[str, int]:
    return {**serializers.counters(broker), **serializers.queue_totals(list(broker.vhosts.values()))}


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise listen_error("http", address, error) from error
    listener.setblocking(False)
    return listener
