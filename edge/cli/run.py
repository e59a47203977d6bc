"""``leveret run``: one node in this process, until a signal."""

import asyncio
import logging
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final

import click

from edge import log
from edge.config import Config, load
from edge.core.errors import ConfigError, EdgeError
from edge.node import Node
from edge.settings import SETTINGS

logger = logging.getLogger("edge.run")

STOP_TIMEOUT_S: Final = 4.8
"""A node stops within 5 s, whatever hangs: all that it has confirmed is on disk at any time."""


@click.command(short_help="Run a node until a signal.")
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="LEVERET_CONFIG",
    show_envvar=True,
    help="TOML file; without one, data in ./leveret-data and listeners on loopback.",
)
def run(path: Path | None) -> None:
    """Run a node until SIGTERM or SIGINT; SIGHUP reads the configuration again."""
    try:
        config = load(path)
        log.setup(config.log.level)
        _raise_file_limit()
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            status = runner.run(Run(config).serve())
    except ConfigError as error:
        click.echo(f"leveret: {error.text}", err=True)
        sys.exit(2)
    except EdgeError as error:
        click.echo(f"leveret: {error.text}", err=True)
        sys.exit(1)
    sys.exit(status)


def _raise_file_limit() -> None:
    """Each connection is an open file, and the usual soft limit of 1,024 is for programs that call select(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # macOS refuses what it calls unlimited
        logger.info("the limit of open files stays: %s", error)


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed; it is not to be had on every edge device."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


class Run:
    """A node and the signals that end or reload it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._node = Node(config)
        self._stop = asyncio.Event()

    async def serve(self) -> int:
        """Start, tell where, and stay until a signal or a failure; returns the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop_signal, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        await self._node.start()
        self._announce()
        waits = [
            asyncio.create_task(self._stop.wait(), name="wait for a signal"),
            asyncio.create_task(self._node.failed.wait(), name="wait for a failure"),
        ]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if not self._stop.is_set():
            self._give_up_later(1)
        logger.info("stopping")
        await self._node.stop()
        logger.info("stopped")
        return 1 if self._node.failed.is_set() else 0

    def _announce(self) -> None:
        for protocol, address in self._node.listening:
            click.echo(f"{protocol} listens on {address}")
        click.echo(f"data in {self.config.node.data_dir.resolve()}")
        for note in self._node.notes:
            click.echo(note)

    def _on_stop_signal(self, number: signal.Signals) -> None:
        """The first one stops in order, also during a start, which is let finish; the second one at once."""
        if self._stop.is_set():
            _leave(128 + number)
        self._stop.set()
        self._give_up_later(0)

    def _give_up_later(self, status: int) -> None:
        asyncio.get_running_loop().call_later(STOP_TIMEOUT_S, self._give_up, status)

    def _give_up(self, status: int) -> None:
        logger.warning("not stopped within %.1f s, leaving; nothing confirmed is lost", STOP_TIMEOUT_S)
        _leave(status)

    def _reload(self) -> None:
        """SIGHUP: take over what can change while running; a mistake in the file changes nothing."""
        try:
            config = load(self.config.path)
        except ConfigError as error:
            logger.error("not reloaded: %s", error.text)
            return
        for row in SETTINGS:
            old, new = (getattr(getattr(each, row.section), row.key) for each in (self.config, config))
            if old != new and not row.reloadable:
                logger.warning("[%s] %s has changed; it takes effect at the next start", row.section, row.key)
        for name in ("shovels", "federation_upstreams", "policies"):
            if getattr(self.config, name) != getattr(config, name):
                logger.warning("%s have changed; they take effect at the next start", name.replace("_", " "))
        log.set_level(config.log.level)
        self.config = config
        logger.info("reloaded")


def _leave(status: int) -> None:
    """End at once, without waiting for threads or connections."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
