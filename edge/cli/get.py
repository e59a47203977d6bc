"""``leveret get``: look at messages of a queue, by basic.get, as ``rabbitmqadmin get`` does by the HTTP API."""

import asyncio
import base64
import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from edge.amqp091 import spec
from edge.amqp091.client import AmqpClient
from edge.amqp091.client_channel import ClientChannel
from edge.amqp091.constants import NOT_FOUND
from edge.amqp091.errors import AmqpError, LoginRefused
from edge.cli.output import format_option, print_json, print_rows
from edge.core.errors import ConfigError
from edge.core.message import Message
from edge.core.properties import decode_properties
from edge.core.table import to_plain
from edge.uris import Uri, parse_uri

Settle = Callable[[ClientChannel, int], None]

ACKMODES: Final[dict[str, Settle]] = {
    "ack_requeue_true": lambda channel, tag: channel.nack(tag, multiple=True, requeue=True),
    "ack_requeue_false": lambda channel, tag: channel.ack(tag, multiple=True),
    "reject_requeue_true": lambda channel, tag: channel.nack(tag, multiple=True, requeue=True),
    "reject_requeue_false": lambda channel, tag: channel.nack(tag, multiple=True, requeue=False),
}
"""RabbitMQ's names for what becomes of the messages; the first and the third are one to a queue."""
COLUMNS: Final = (
    *("routing_key", "exchange", "message_count", "payload", "payload_bytes", "payload_encoding"),
    *("properties", "redelivered"),
)
"""rabbitmqadmin's."""


@click.command(short_help="Show messages of a queue, by AMQP; they stay there.")
@click.argument("queue")
@click.option("--count", type=click.IntRange(1), default=1, show_default=True, help="So many at most.")
@click.option(
    "--ackmode",
    type=click.Choice(list(ACKMODES)),
    default="ack_requeue_true",
    show_default=True,
    help="What becomes of them: back to the queue (…requeue_true), taken for good (ack_requeue_false), or "
    "dead-lettered, where the queue says where (reject_requeue_false).",
)
@click.option(
    "--encoding",
    type=click.Choice(["auto", "base64"]),
    default="auto",
    show_default=True,
    help="Of payloads; auto: text, and base64 for what is no UTF-8.",
)
@click.option(
    "--payload-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the payload of the only message there, as it is.",
)
@click.option(
    "--uri",
    envvar="LEVERET_URI",
    default="amqp://localhost",
    show_default=True,
    show_envvar=True,
    help="amqp(s)://user:password@host:port/vhost of any broker; user and password are guest without.",
)
@click.option("-p", "--vhost", help="Instead of the URI's.  [default: /]")
@format_option
def get(
    queue: str,
    count: int,
    ackmode: str,
    encoding: str,
    payload_file: Path | None,
    uri: str,
    vhost: str | None,
    output_format: str,
) -> None:
    """Get messages from the front of QUEUE, by AMQP; they stay there unless --ackmode says otherwise.

    They are settled when they have been printed. Who gets them later sees them marked as redelivered.
    """
    if payload_file is not None and count > 1:
        raise click.UsageError("--payload-file holds one payload; leave --count out")
    try:
        place = parse_uri("--uri", uri)
    except ConfigError as error:
        raise click.UsageError(error.text) from error
    if place.is_local:
        place = dataclasses.replace(place, host="localhost")
    if vhost is not None:
        place = dataclasses.replace(place, vhost=vhost)

    def show(found: list[tuple[Message, spec.BasicGetOk]]) -> None:
        if payload_file is not None and found:
            _write(payload_file, found[0][0].body)
        rows = [row_of(message, method, encoding) for message, method in found]
        if output_format == "json":
            print_json(rows)
        elif rows:
            print_rows(rows, COLUMNS, output_format)
        else:
            click.echo(f"nothing is ready in queue '{queue}'", err=True)
        sys.stdout.flush()

    asyncio.run(_get(place, queue, count, ACKMODES[ackmode], show))


async def _get(place: Uri, queue: str, count: int, settle: Settle, show: Callable[[Any], None]) -> None:
    """Get, show, settle: what could not be shown goes back. Raises click.ClickException."""
    try:
        client = await AmqpClient.connect(place, connection_name="leveret get")
        try:
            channel = await client.channel()
            found: list[tuple[Message, spec.BasicGetOk]] = []
            while len(found) < count and (one := await channel.get(queue)) is not None:
                found.append(one)
            show(found)
            if found:
                settle(channel, found[-1][1].delivery_tag)
                await channel.close()  # which is answered when it is settled
        finally:
            await client.close()
    except LoginRefused as error:
        who = place.username or "guest"
        raise click.ClickException(
            f"the broker at {place} refused user '{who}': {error}; see --uri"
        ) from error
    except AmqpError as error:
        what = "refused" if error.code else "has gone"
        advice = f"; see leveret list_queues -p {place.vhost}" if error.code == NOT_FOUND else ""
        raise click.ClickException(f"the broker at {place} {what}: {error}{advice}") from error
    except BrokenPipeError:
        raise  # of stdout: click ends quietly
    except (OSError, TimeoutError) as error:
        # asyncio puts a text of its own in the place of the system's.
        number = error.errno if isinstance(error, ConnectionError) else None
        reason = os.strerror(number) if number else str(error) or "no answer in time"
        raise click.ClickException(
            f"no AMQP connection to {place}: {reason}; is a broker running there, and is --uri right?"
        ) from error


def row_of(message: Message, method: spec.BasicGetOk, encoding: str = "auto") -> dict[str, object]:
    """A message under the keys of RabbitMQ's ``POST /api/queues/<vhost>/<name>/get``."""
    payload, used = None, "string"
    if encoding == "auto":
        with contextlib.suppress(UnicodeDecodeError):
            payload = message.body.decode()
    if payload is None:
        payload, used = base64.b64encode(message.body).decode(), "base64"
    properties = msgspec.structs.asdict(decode_properties(message.properties))
    return {
        "payload_bytes": len(message.body),
        "redelivered": method.redelivered,
        "exchange": method.exchange,
        "routing_key": method.routing_key,
        "message_count": method.message_count,
        "properties": {key: to_plain(value) for key, value in properties.items() if value is not None},
        "payload": payload,
        "payload_encoding": used,
    }


def _write(path: Path, payload: bytes) -> None:
    try:
        path.write_bytes(payload)
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from error
