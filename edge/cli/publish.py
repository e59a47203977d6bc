"""``leveret publish``: messages from the command line, a file or standard input, with mosquitto_pub's habits."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any, Final

import click

from edge.cli.mqtt_client import Client, Target
from edge.cli.mqtt_options import connection_options
from edge.cli.mqtt_properties import PropertyCommand

LINES_AHEAD: Final = 100
"""Lines read from standard input before the broker has answered for those before."""


@click.command(
    cls=PropertyCommand,
    context_settings={"help_option_names": ["--help"]},
    short_help="Publish to an MQTT broker, as mosquitto_pub does.",
)
@connection_options
@click.option("-t", "--topic", metavar="TOPIC", help="Where to publish.")
@click.option("-m", "--message", metavar="TEXT", help="The payload.")
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The content of a file is the payload.",
)
@click.option("-l", "--stdin-line", is_flag=True, help="Each line of standard input is a payload.")
@click.option("-s", "--stdin-file", is_flag=True, help="All of standard input is the payload.")
@click.option("-n", "--null-message", is_flag=True, help="No payload; with -r it clears a retained message.")
@click.option(
    "-q",
    "--qos",
    type=click.IntRange(0, 2),
    default=0,
    show_default=True,
    help="Quality of service of the messages.",
)
@click.option("-r", "--retain", is_flag=True, help="The broker keeps it for later subscribers.")
@click.option(
    "-M",
    "--max-inflight",
    type=click.IntRange(1, 65535),
    default=20,
    show_default=True,
    help="Messages of -l or --repeat that wait for their acknowledgement at once.",
)
@click.option(
    "--repeat",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Publish so many times; not with -l.",
)
@click.option(
    "--repeat-delay",
    "delay_s",
    type=click.FloatRange(0),
    default=0.0,
    metavar="SECONDS",
    help="Pause between them.  [default: 0]",
)
@click.pass_context
def publish(
    ctx: click.Context,
    target: Target,
    /,
    topic: str | None,
    url_topic: str | None,
    message: str | None,
    file: Path | None,
    stdin_line: bool,
    stdin_file: bool,
    null_message: bool,
    **given: Any,
) -> None:
    """Publish to an MQTT broker; ends when it has acknowledged everything, at QoS 1 and 2.

    -D PACKET NAME VALUE sets a property of MQTT 5: -D publish content-type text/plain,
    -D publish user-property NAME VALUE, -D will will-delay-interval 10.
    """
    if (topic is None) == (url_topic is None):
        raise click.UsageError("say where to publish by -t or -L", ctx)
    if [message is not None, file is not None, stdin_line, stdin_file, null_message].count(True) != 1:
        raise click.UsageError("say what to publish by one of -m, -f, -l, -s and -n", ctx)
    if stdin_line and given["repeat"] > 1:
        raise click.UsageError("--repeat is for -m, -f, -s and -n; the lines of -l come once", ctx)
    payload: bytes | None = b""
    if message is not None:
        payload = message.encode(errors="surrogateescape")
    elif file is not None:
        try:
            payload = file.read_bytes()
        except OSError as error:
            raise click.ClickException(f"cannot read {file}: {error.strerror}") from error
    elif stdin_file:
        payload = sys.stdin.buffer.read()
    elif stdin_line:
        payload = None
    options = {"qos": given["qos"], "retain": given["retain"], "properties": ctx.obj.get("publish")}
    publisher = Publisher(target, topic or url_topic or "", options, given["max_inflight"])
    if payload is None:
        publisher.is_stream = True
        asyncio.run(publisher.run(_lines()))
    else:
        asyncio.run(publisher.run(_repeated(payload, given["repeat"], given["delay_s"])))


class Publisher:
    """Publishes payloads to one topic in their order, ``window`` of them unacknowledged at most."""

    def __init__(self, target: Target, topic: str, options: dict[str, Any], window: int) -> None:
        self.is_stream = False
        self._target = target
        self._topic = topic
        self._options = options
        self._window = asyncio.Semaphore(window)
        self._count = 0
        self._refused = 0
        self._reason = ""

    async def run(self, payloads: AsyncIterator[bytes]) -> None:
        """Ends when all is acknowledged. Raises click.ClickException, also for what was refused, at the end."""
        with self._target.explained():
            async with self._target.client() as client:
                client.when_refused = self._on_refusal
                await client.while_connected(self._publish_all(client, payloads))
        if self._refused:
            which = "the message" if self._count == 1 else f"{self._refused} of {self._count} messages"
            raise click.ClickException(self._target.refusal(f"{which} to {self._topic!r}", self._reason))

    async def _publish_all(self, client: Client, payloads: AsyncIterator[bytes]) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                async for payload in payloads:
                    await self._window.acquire()
                    self._count += 1
                    tasks.create_task(self._publish(client, payload))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _publish(self, client: Client, payload: bytes) -> None:
        try:
            await client.publish(self._topic, payload, **self._options)
        except ValueError as error:  # paho's, before it sends anything
            raise click.UsageError(f"cannot publish to {self._topic!r}: {error}") from error
        finally:
            self._window.release()

    def _on_refusal(self, reason: str) -> None:
        self._refused += 1
        self._reason = reason
        if self.is_stream:  # which may not end for days
            self._target.warn(
                f"the broker at {self._target.place} refused a line to {self._topic!r}: {reason}; going on"
            )


async def _repeated(payload: bytes, times: int, delay_s: float) -> AsyncIterator[bytes]:
    for number in range(times):
        if number and delay_s:
            await asyncio.sleep(delay_s)
        yield payload


async def _lines() -> AsyncIterator[bytes]:
    """Standard input line by line, without the line ends, while the loop keeps the connection alive."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes | None] = asyncio.Queue(LINES_AHEAD)

    def read() -> None:
        try:
            # Not sys.stdin: at its end Python wants to close that, and aborts when a thread is still reading it.
            for line in open(0, "rb", closefd=False):  # noqa: SIM115  # read until the process ends
                asyncio.run_coroutine_threadsafe(lines.put(line.rstrip(b"\r\n")), loop).result()
            asyncio.run_coroutine_threadsafe(lines.put(None), loop).result()
        except (RuntimeError, CancelledError):
            return  # the loop has ended before standard input: the connection has failed

    # A daemon: a terminal may not end, and the program should.
    threading.Thread(target=read, name="standard input", daemon=True).start()
    while (line := await lines.get()) is not None:
        yield line
