"""The ``leveret`` program: the command groups, each imported only when it is called.

Exit status: 0 on success, 1 on failure, 2 on wrong usage or configuration. Click stays inside ``edge.cli``.
"""

import difflib
import errno
import importlib
import os
import sys

import click

from edge import __version__, wire

COMMANDS = {
    "definitions": "edge.cli.definitions:definitions",
    "demo": "edge.cli.demo:demo",
    "get": "edge.cli.get:get",
    "list_queues": "edge.cli.queues:list_queues",
    "publish": "edge.cli.publish:publish",
    "queues": "edge.cli.queues:queues",
    "run": "edge.cli.run:run",
    "status": "edge.cli.status:status",
    "store": "edge.cli.store:store",
    "subscribe": "edge.cli.subscribe:subscribe",
}
"""Name -> module and object. A command's module may need what another does not: the node, or an HTTP client."""

BUILD = "plain Python" if str(wire.__file__).endswith(".py") else "compiled"
"""Which build this is; see hatch_build.py."""


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a file or device that standard output is redirected to."""
STATUS_INTERRUPTED = 130
"""128 and SIGINT's number, as shells give it, by Ctrl-C. ``run`` and ``subscribe`` end so as a rule, with 0."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(STATUS_INTERRUPTED)
        except OSError as error:
            if error.errno not in FULL or error.filename is not None:
                raise
            # What is left in its buffer cannot be written at the end either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.ClickException(f"cannot write the output: {error.strerror}") from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = (
                f" Did you mean '{near[0]}'?" if near else f" Known commands: {', '.join(sorted(COMMANDS))}."
            )
            raise click.UsageError(f"No such command '{args[0]}'.{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="leveret", message=f"%(prog)s, version %(version)s ({BUILD})")
def main() -> None:
    """Leveret, a message broker for the edge: MQTT and AMQP in, SQLite in the middle, shovels and federation out."""
