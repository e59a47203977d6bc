"""``leveret subscribe``: print messages as they come, with mosquitto_sub's habits and formats."""

import asyncio
import random
import signal
import sys
from dataclasses import dataclass
from typing import Any, Final

import aiomqtt
import click

from edge.cli.mqtt_client import REFUSED, Client, Lost, Target
from edge.cli.mqtt_format import Format, NotJson
from edge.cli.mqtt_options import connection_options
from edge.cli.mqtt_properties import PropertyCommand
from edge.retry import reconnect_retry

STATUS_TIMED_OUT: Final = 27
"""mosquitto_sub's status when -W has ended it."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What to subscribe to, what of it to print, and when to end."""

    topics: tuple[str, ...]
    unsubscribed: tuple[str, ...]
    filtered: tuple[str, ...]
    qos: int
    count: int | None
    timeout_s: int | None
    subscribes_only: bool
    no_retained: bool
    retained_only: bool
    remove_retained: bool
    percentage: float
    properties: dict[str, Any]


@click.command(
    cls=PropertyCommand,
    context_settings={"help_option_names": ["--help"]},
    short_help="Print what an MQTT broker sends, as mosquitto_sub does.",
)
@connection_options
@click.option(
    "-t", "--topic", "topics", metavar="FILTER", multiple=True, help="A topic filter; may come again."
)
@click.option(
    "-U",
    "--unsubscribe",
    "unsubscribed",
    metavar="FILTER",
    multiple=True,
    help="End a subscription of the session (-c); may come again.",
)
@click.option(
    "-T",
    "--filter-out",
    "filtered",
    metavar="FILTER",
    multiple=True,
    help="Don't print what matches this filter; may come again.",
)
@click.option(
    "-q",
    "--qos",
    type=click.IntRange(0, 2),
    default=0,
    show_default=True,
    help="The highest quality of service to get messages with.",
)
@click.option("-C", "count", type=click.IntRange(1), metavar="COUNT", help="End after so many messages.")
@click.option(
    "-W",
    "timeout_s",
    type=click.IntRange(1),
    metavar="SECONDS",
    help=f"End after so many seconds, with status {STATUS_TIMED_OUT}.",
)
@click.option(
    "-E", "subscribes_only", is_flag=True, help="End when subscribed; with -c and -i, for a later time."
)
@click.option("-R", "no_retained", is_flag=True, help="Don't print retained messages.")
@click.option(
    "--retained-only", is_flag=True, help="Print retained messages, and end with the first that is not."
)
@click.option(
    "--remove-retained",
    is_flag=True,
    help="Clear the retained messages that come, at the broker, for everybody; -T excepts some.",
)
@click.option(
    "--random-filter",
    "percentage",
    type=click.FloatRange(0, 100, min_open=True),
    default=100.0,
    metavar="PERCENT",
    help="Print about so many of the messages.  [default: 100]",
)
@click.option("-v", "--verbose", is_flag=True, help="The topic before the payload.")
@click.option("-N", "no_line_end", is_flag=True, help="No line end after a payload.")
@click.option(
    "-F",
    "template",
    metavar="TEMPLATE",
    help="%t topic, %p payload, %q QoS, %r retain, %l length, %j JSON, and the rest of mosquitto_sub's.",
)
@click.option("--pretty", is_flag=True, help="JSON on several lines.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json is -F %j.",
)
@click.pass_context
def subscribe(
    ctx: click.Context,
    target: Target,
    /,
    topics: tuple[str, ...],
    url_topic: str | None,
    verbose: bool,
    no_line_end: bool,
    template: str | None,
    pretty: bool,
    output_format: str,
    **given: Any,
) -> None:
    """Print messages from an MQTT broker as they come, or by --format json an object a line.

    Connects again when the connection breaks. -D PACKET NAME VALUE sets a property of MQTT 5:
    -D subscribe subscription-identifier 7.
    """
    if url_topic is not None:
        topics = (url_topic, *topics)
    if not topics and not given["unsubscribed"]:
        raise click.UsageError("say what to subscribe to by -t or -L", ctx)
    if given["no_retained"] and given["retained_only"]:
        raise click.UsageError("-R and --retained-only leave nothing to print", ctx)
    if template is None:
        template = "%j" if output_format == "json" else "%t %p" if verbose else "%p"
    form = Format(template + ("" if no_line_end else "\n"), pretty=pretty)
    try:
        asyncio.run(Subscriber(target, form, Wish(topics=topics, properties=ctx.obj, **given)).run())
    except TimeoutError:
        ctx.exit(STATUS_TIMED_OUT)


class Subscriber:
    """Keeps a subscription up and prints what comes."""

    def __init__(self, target: Target, form: Format, wish: Wish) -> None:
        self._target = target
        self._form = form
        self._wish = wish
        self._left = wish.count
        self._was_connected = False

    async def run(self) -> None:
        """Until there are enough, or a signal: both are a success, as with mosquitto_sub.

        Raises TimeoutError by -W, and click.ClickException.
        """
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        try:
            async with asyncio.timeout(self._wish.timeout_s):
                await self._stay()
        except asyncio.CancelledError:
            return

    async def _stay(self) -> None:
        """The first connection must succeed; when it breaks later, another one is tried for ever."""
        async for attempt in reconnect_retry(aiomqtt.MqttError, self._on_loss):
            with attempt:
                try:
                    async with self._target.client() as client:
                        attempt.retry_state.attempt_number = 1
                        self._was_connected = True
                        await self._serve(client)
                except aiomqtt.MqttError as error:
                    if not self._was_connected or (isinstance(error, Lost) and error.is_taken_over):
                        with self._target.explained():
                            raise
                    raise

    def _on_loss(self, error: BaseException, delay_s: float) -> None:
        assert isinstance(error, aiomqtt.MqttError)
        self._target.warn(f"{self._target.loss(error)}; trying again in {delay_s:.1f} s")

    async def _serve(self, client: Client) -> None:
        await self._subscribe(client)
        if not self._wish.subscribes_only:
            try:
                await self._print(client)
            except aiomqtt.MqttError as error:
                if client.has_ended:
                    raise client.lost() from error
                raise

    async def _subscribe(self, client: Client) -> None:
        """One packet for all filters. Raises click.ClickException when all of them are refused, else warns."""
        wish, refused = self._wish, 0
        try:
            if wish.topics:
                asked = client.subscribe(
                    self._target.filters(wish.topics, wish.qos), properties=wish.properties.get("subscribe")
                )
                for topic, reason in zip(wish.topics, await client.while_connected(asked), strict=True):
                    if (reason if isinstance(reason, int) else reason.value) >= REFUSED:
                        refused += 1
                        text = self._target.refusal(f"the subscription to {topic!r}", str(reason))
                        if refused == len(wish.topics):
                            raise click.ClickException(text)
                        self._target.warn(text)
            if wish.unsubscribed:
                properties = wish.properties.get("unsubscribe")
                await client.while_connected(client.unsubscribe([*wish.unsubscribed], properties))
        except ValueError as error:  # paho's, before it sends anything
            topics = ", ".join((*wish.topics, *wish.unsubscribed))
            raise click.UsageError(f"cannot subscribe to {topics}: {error}") from error

    async def _print(self, client: Client) -> None:
        wish = self._wish
        async for message in client.messages:
            if wish.retained_only and not message.retain:
                return
            if (message.retain and wish.no_retained) or any(map(message.topic.matches, wish.filtered)):
                continue
            if message.retain and wish.remove_retained:
                await client.while_connected(client.publish(str(message.topic), b"", qos=1, retain=True))
            if wish.percentage < 100 and random.random() * 100 >= wish.percentage:  # noqa: S311  # no secret
                continue
            self._write(message)
            if self._left is not None:
                self._left -= 1
                if not self._left:
                    return

    def _write(self, message: aiomqtt.Message) -> None:
        """At once, so that the next program of a pipe sees it now."""
        try:
            sys.stdout.buffer.write(self._form.render(message))
        except NotJson as error:
            self._target.warn(str(error))
        sys.stdout.buffer.flush()
