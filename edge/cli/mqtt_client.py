"""The connection of ``leveret publish`` and ``subscribe``, and what is said when it fails."""

import asyncio
import functools
import logging
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import aiomqtt
import click
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

R = TypeVar("R")

TIMEOUT_S: Final = 10.0
"""For a CONNACK, SUBACK or PUBACK; a link that needs longer is as good as cut for a person who waits."""
TIMED_OUT: Final = "Operation timed out"
"""aiomqtt's text, by which alone it tells this error from others."""
REFUSED: Final = 0x80
"""Reason codes from here on are refusals; MQTT 3 has only this one, in a SUBACK."""
SESSION_TAKEN_OVER: Final = 0x8E

logger = logging.getLogger("edge.cli.mqtt")


class Lost(aiomqtt.MqttError):
    """The connection has ended; with the reason code of the broker's DISCONNECT, if there was one."""

    def __init__(self, reason: ReasonCode | None = None) -> None:
        super().__init__("" if reason is None else str(reason))
        self.is_taken_over = reason is not None and reason.value == SESSION_TAKEN_OVER


class NotAnswered(Lost):
    """There was no CONNACK: the connection has ended, or ``has_waited`` long enough."""

    def __init__(self, *, has_waited: bool = False) -> None:
        super().__init__()
        self.has_waited = has_waited


class Client(aiomqtt.Client):
    """aiomqtt's, which neither tells what the broker has refused nor notices at once that it has gone."""

    def __init__(self, *args: Any, goodbye: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if goodbye is not None:  # aiomqtt's call has no room for properties of DISCONNECT
            self._client.disconnect = functools.partial(self._client.disconnect, properties=goodbye)
        #: Called with the reason of each PUBACK and PUBREC that is a refusal.
        self.when_refused: Callable[[str], None] | None = None
        self._reason: ReasonCode | None = None
        self._take_pubrec = self._client._handle_pubrec
        self._client._handle_pubrec = self._on_pubrec

    async def __aenter__(self) -> "Client":
        try:
            return await super().__aenter__()
        except aiomqtt.MqttError as error:
            if str(error) == TIMED_OUT:
                raise NotAnswered(has_waited=True) from error
            raise

    async def while_connected(self, call: Coroutine[Any, Any, R]) -> R:
        """The result of ``call``. Raises Lost as soon as the connection has ended, and its own errors."""
        task = asyncio.create_task(call)
        try:
            await asyncio.wait((task, self._disconnected), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise self.lost()
            return task.result()
        except aiomqtt.MqttCodeError as error:
            if self.has_ended:
                raise self.lost() from error
            raise
        finally:
            task.cancel()

    @property
    def has_ended(self) -> bool:
        return self._disconnected.done()

    def lost(self) -> Lost:
        """Why the connection has ended, as it must have."""
        self._disconnected.exception()  # looked at, or asyncio says on stderr that nobody has
        return Lost(self._reason)

    def _on_pubrec(self) -> Any:
        """paho does not look at the reason code, and goes on as if there had been none (MQTT 5, 4.3.3)."""
        packet, client = self._client._in_packet["packet"], self._client
        if client.protocol == aiomqtt.ProtocolVersion.V5.value and len(packet) > 2 and packet[2] >= REFUSED:
            packet_id = int.from_bytes(packet[:2], "big")
            if packet_id in client._out_messages:
                return client._do_on_publish(
                    packet_id, ReasonCode(PacketTypes.PUBREC, identifier=packet[2]), None
                )
        return self._take_pubrec()

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any) -> None:
        if reason_code.is_failure and self.when_refused is not None:
            self.when_refused(str(reason_code))
        super()._on_publish(client, userdata, mid, reason_code, properties)

    def _on_disconnect(
        self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._reason = reason_code
        super()._on_disconnect(client, userdata, flags, reason_code, properties)
        if not self._connected.done():  # else nothing would end the wait for a CONNACK but time
            self._connected.set_exception(NotAnswered())


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where to connect, how, and as whom."""

    host: str
    port: int
    transport: Literal["tcp", "unix"]
    client_id: str | None
    username: str | None
    password: str | None
    version: aiomqtt.ProtocolVersion
    keepalive: int
    clean: bool
    will: aiomqtt.Will | None
    properties: Any
    goodbye: Any
    tls: ssl.SSLContext | None
    bind_address: str
    no_delay: bool
    debug: bool
    quiet: bool

    @property
    def is_v5(self) -> bool:
        return self.version is aiomqtt.ProtocolVersion.V5

    @property
    def place(self) -> str:
        return self.host if self.transport == "unix" else f"{self.host}:{self.port}"

    def client(self) -> Client:
        """To be entered in the running loop."""
        session: dict[str, Any] = {"clean_start": self.clean} if self.is_v5 else {"clean_session": self.clean}
        client = Client(
            self.host,
            self.port,
            transport=self.transport,
            username=self.username,
            password=self.password,
            identifier=self.client_id,
            protocol=self.version,
            will=self.will,
            keepalive=self.keepalive,
            timeout=TIMEOUT_S,
            properties=self.properties if self.is_v5 else None,
            goodbye=self.goodbye,
            tls_context=self.tls,
            bind_address=self.bind_address,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)] if self.no_delay else None,
            logger=self._logger(),
            **session,
        )
        client.pending_calls_threshold = sys.maxsize  # a warning about what -M asks for
        return client

    def refusal(self, what: str, reason: str) -> str:
        """That the broker has refused ``what`` with a reason code of MQTT, and what can be done."""
        text = f"the broker at {self.place} refused {what}: {reason}"
        if reason in ("Not authorized", "Unspecified error"):  # all that MQTT 3 can say in a SUBACK
            who = f"user '{self.username}'" if self.username else "clients without a user"
            return f"{text}; see the permissions of {who} there"
        return f"{text}; something there is full: see leveret status" if reason == "Quota exceeded" else text

    def filters(self, topics: Iterable[str], qos: int) -> Any:
        """Topic filters as paho wants them, which is another way with each version."""
        return [(topic, SubscribeOptions(qos) if self.is_v5 else qos) for topic in topics]

    def _logger(self) -> logging.Logger:
        """Packets by -d, on stderr: stdout is for what was published. Without -d nothing; failures are raised."""
        logger.propagate = False
        logger.handlers = [logging.StreamHandler() if self.debug else logging.NullHandler()]
        logger.setLevel(logging.DEBUG if self.debug else logging.CRITICAL)
        return logger

    def warn(self, text: str) -> None:
        """Say something on stderr that does not end the command."""
        if not self.quiet:
            click.echo(f"Warning: {text}", err=True)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turns what goes wrong with the connection into click.ClickException: what, where, what to do."""
        try:
            yield
        except aiomqtt.exceptions.MqttConnectError as error:
            who = f"user '{self.username}'" if self.username else "a client without a user"
            raise click.ClickException(
                f"the broker at {self.place} refused {who}: {error.rc}; see -u, -P, -i and -V"
            ) from error
        except aiomqtt.MqttError as error:
            raise click.ClickException(self.loss(error)) from error

    def loss(self, error: aiomqtt.MqttError) -> str:
        """Why there is no connection any more, or none yet."""
        # Which aiomqtt raises "from None".
        cause = error.__cause__ or error.__context__
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"the certificate of the broker at {self.place} is not trusted: {cause.verify_message}; see --cafile,"
                " and --host, which must be a name in it"
            )
        if isinstance(cause, ssl.SSLError):
            return f"no TLS with {self.place}: {cause.reason or cause}; is that a listener for TLS?"
        if isinstance(error, NotAnswered):
            wants = "a client certificate (--cert and --key)" if self.tls else "TLS (--cafile)"
            what = f"was silent for {TIMEOUT_S:.0f} s" if error.has_waited else "closed the connection"
            return f"the broker at {self.place} {what} instead of answering; is it for MQTT, and does it want {wants}?"
        if isinstance(error, Lost):
            return f"the broker at {self.place} closed the connection{f': {error}' if str(error) else self._silence()}"
        if str(error) == TIMED_OUT:
            return f"the broker at {self.place} did not answer within {TIMEOUT_S:.0f} s{self._silence()}"
        what = "a broker with TLS" if self.tls else "a broker"
        return (
            f"no MQTT connection to {self.place}: {cause or error}; is {what} running there,"
            " and are -h and -p right?"
        )

    def _silence(self) -> str:
        if self.is_v5:
            return ", and gave no reason; its log may say more"
        return "; so MQTT 3 refuses what is not allowed or finds no room: -V 5 tells the reason"
