"""The MQTT server: one protocol object per connection, from the socket to the broker and back.

No task and no await: a read is parsed whole, what it holds is done at once, and what has to wait for the disk is sent
by one callback per run.
"""

import asyncio
import logging
import secrets
import time
from typing import Any, Final

from edge.auth.users import User
from edge.core.errors import BrokerError
from edge.core.vhost import VHost
from edge.net.protocol import WireProtocol, address_text, is_loopback
from mqtt import constants as c
from mqtt import encode
from mqtt import properties as p
from mqtt import reasons as r
from mqtt.connection import Connection
from mqtt.flows import Flows
from mqtt.login import log_in, session_expiry_s
from mqtt.packets import (
    AckRun,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Event,
    Pingreq,
    PublishRun,
    Subscribe,
    Unsubscribe,
    Will,
)
from mqtt.properties import Properties
from mqtt.reasons import MqttError
from mqtt.service import MqttService
from mqtt.session import Session
from mqtt.subscriptions import Subscriptions
from mqtt.waiting import Waiting

logger = logging.getLogger("mqtt.server")

LINGER_S: Final = 2.0
"""What a client has to read why it is disconnected: a round trip on a bad link."""
COARSE_FROM_S: Final = 10.0
"""A client that is silent for so long may stay a second longer, so that all are looked at together."""
VERSION_NAMES: Final = {0: "MQTT", c.V31: "MQTT 3.1", c.V311: "MQTT 3.1.1", c.V5: "MQTT 5.0"}


class MqttServerProtocol(WireProtocol):
    """One client's connection."""

    def __init__(self, service: MqttService) -> None:
        super().__init__()
        # Shared by all connections
        self.service = service
        self.broker = service.broker
        # As long as the connection lives
        self.machine = Connection(c.SERVER, service.cache)
        self.connected_at_ms = 0
        self._timer: asyncio.TimerHandle | None = None
        self.is_over = False
        self._waiting = Waiting(self.broker, self, self._process)
        # From the CONNECT on
        self.session: Session | None = None
        self._user: User | None = None
        self._vhost: VHost | None = None
        self._will: Will | None = None
        self._flows: Flows | None = None
        self._subscriptions: Subscriptions | None = None

    # -- the connection --------------------------------------------------------------------------------------------

    def on_connected(self) -> None:
        self.connected_at_ms = time.time_ns() // 1_000_000
        self._timer = self.loop.call_later(self.service.limits.connect_timeout_s, self._no_connect)

    def _no_connect(self) -> None:
        if self.session is None:
            self.fail(MqttError(r.PROTOCOL_ERROR, "no CONNECT came in time"))

    def on_bytes(self, data: bytes) -> None:
        if self.is_over:
            return
        events = self.machine.receive(data, self.broker.clock.elapsed_ms())
        if self._waiting:
            self._waiting.add(events, len(data))
            return
        self._process(events)
        if (
            self.broker.congested
            and not self.is_over
            and any(isinstance(each, PublishRun) for each in events)
        ):
            self.pause_input("congested")
            self.broker.when_relieved(self._relieved)

    def _relieved(self) -> None:
        self.last_received = self.loop.time()
        self.resume_input("congested")

    def on_writable(self) -> None:
        session = self.session
        if session is not None:
            if session.link is not None:
                self.broker.back_pressure.caught_up(session.link)
                session.link.queue.wake()
            self.service.shares.wake(session)

    def on_closed(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.is_over and self.session is not None:
            logger.info("%s: client '%s' is gone without DISCONNECT", self.peer, self._client_id)
        self._end(self._will)

    def _end(self, will: Will | None) -> None:
        """The connection is over for the broker, whatever the socket still does. Once."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.is_over:
            return
        self.is_over = True
        if self._flows is not None:
            self._flows.stop()
        self._waiting.give_up()
        self.broker.connections.pop(self._name, None)
        if self.session is not None:
            self.service.connection_ended(self, self.session, will, self._will is not None)

    def fail(self, fault: MqttError) -> None:
        """End the connection because of `fault`, the way the client's version can be told."""
        logger.warning("%s: client '%s': %s", self.peer, self._client_id, fault)
        if self.machine.is_open:
            self.write(self.machine.disconnect(fault.reason, fault.text))
        else:
            self.write(self.machine.refuse(fault.reason, fault.text))
        self._end(self._will)
        self._linger()

    def _linger(self) -> None:
        """Send what is written, then read on without looking until the client closes, for a while.

        To close with bytes unread would reset the connection, and the client might lose the packet that says why.
        """
        transport = self.transport
        if transport is None or transport.is_closing() or not transport.can_write_eof():
            self.close_after_flush()
            return
        self._flush()
        try:
            transport.write_eof()
        except OSError:
            # The client has reset the connection, and the loop has not told us yet.
            self.abort()
            return
        for reason in list(self._input_held):
            self.resume_input(reason)
        self._timer = self.loop.call_later(LINGER_S, self.abort)

    def take_over(self) -> None:
        """The client has connected anew [MQTT-3.1.4-3]."""
        logger.info("%s: client '%s' has connected elsewhere", self.peer, self._client_id)
        if self.machine.is_open:
            self.write(self.machine.disconnect(r.SESSION_TAKEN_OVER))
        self._end(self._will)
        self._linger()

    def shut_down(self, reason: str) -> None:
        """See `ConnectionInfo.shut_down`."""
        if self.machine.is_open:
            self.write(self.machine.disconnect(r.SERVER_SHUTTING_DOWN, reason))
        self._end(self._will)
        self.close_after_flush()

    # -- events ----------------------------------------------------------------------------------------------------

    def _process(self, events: list[Event]) -> None:
        for at, event in enumerate(events):
            if self.is_over:
                return
            flows = self._flows
            if flows is None or not isinstance(event, PublishRun | AckRun):
                self._on_packet(event)
            elif isinstance(event, AckRun):
                flows.acknowledgements(event)
            elif self.broker.is_full and self.machine.version != c.V5:
                logger.warning("%s: client '%s' is blocked: low on disk", self.peer, self._client_id)
                self._waiting.begin(events[at:])
                return
            elif not flows.publishes(event):
                self.fail(MqttError(r.NOT_AUTHORIZED, f"may not publish to '{c.TOPIC_EXCHANGE}'"))
        if self.machine.fault is not None and not self.is_over:
            self.fail(self.machine.fault)

    def _on_packet(self, event: Event) -> None:
        if isinstance(event, Pingreq):
            self.write(encode.PINGRESP)
        elif isinstance(event, Subscribe) and self._subscriptions is not None:
            self._subscriptions.subscribe(event)
        elif isinstance(event, Unsubscribe) and self._subscriptions is not None:
            self._subscriptions.unsubscribe(event)
        elif isinstance(event, Disconnect):
            self._on_disconnect(event)
        elif isinstance(event, Connect):
            self._on_connect(event)
        elif isinstance(event, Auth):
            self.fail(MqttError(r.PROTOCOL_ERROR, "AUTH without an authentication method [MQTT-4.12.0-6]"))

    # -- connect ---------------------------------------------------------------------------------------------------

    def _on_connect(self, connect: Connect) -> None:
        # First: a refusal must not be larger than the client takes, either [MQTT-3.2.2-19].
        self.machine.learn_peer(connect)
        try:
            self._user, vhost = log_in(self.broker, connect, self._is_loopback)
        except MqttError as refused:
            self.fail(refused)
            return
        self._vhost = vhost
        answer: Properties = {}
        if not connect.client_id:
            connect.client_id = answer[p.ASSIGNED_CLIENT_IDENTIFIER] = f"auto-{secrets.token_hex(12)}"
        self._will = connect.will
        session, present = self.service.open_session(self, connect, vhost)
        self.session = session
        session.username = self._user.name
        session.expiry_s = session_expiry_s(connect, self.service.limits.session_expiry_max_s)
        self._flows = Flows(self, self.service, session, self._user, vhost)
        self._subscriptions = Subscriptions(self, self.service, session, self._user, vhost)
        if present:
            self._subscriptions.drop_forbidden()
        self.broker.connections[self._name] = self
        logger.info("%s: client '%s' connected by %s", self.peer, connect.client_id, self._version_name)
        try:
            self.service.restore_queue(self, session)
        except BrokerError as refused:
            self.fail(MqttError(r.UNSPECIFIED_ERROR, refused.text))
            return
        if connect.version == c.V5:
            self._announce_limits(answer, session)
            asked_s = connect.properties.get(p.SESSION_EXPIRY_INTERVAL, 0)
            if asked_s != session.expiry_s:
                answer[p.SESSION_EXPIRY_INTERVAL] = session.expiry_s
        connack = Connack(present, r.SUCCESS, answer)
        # A session that is to survive is on disk before the client hears of it, and so is a will.
        has_will = self.service.wills.keep(session, connect.will)
        if self.service.save(session) or has_will:
            # What comes meanwhile is not read: a disk that is full may keep the client waiting for long.
            self.pause_input("connecting")
            self.broker.after_commit(lambda: self._accept(connack), with_messages=False)
        else:
            self._accept(connack)

    @property
    def _is_loopback(self) -> bool:
        return self.transport is not None and is_loopback(self.transport.get_extra_info("peername"))

    def _announce_limits(self, answer: Properties, session: Session) -> None:
        limits = self.service.limits
        if self.machine.wants_response_information and limits.response_topic:
            answer[p.RESPONSE_INFORMATION] = limits.response_topic.replace(
                "{client_id}", session.client_id
            ).replace("{username}", session.username)
        answer[p.RECEIVE_MAXIMUM] = limits.receive_max
        answer[p.MAXIMUM_PACKET_SIZE] = limits.packet_bytes_max
        answer[p.TOPIC_ALIAS_MAXIMUM] = limits.topic_alias_max
        keep_alive_s = self.machine.keep_alive_s
        if not 0 < keep_alive_s <= limits.keep_alive_max_s and limits.keep_alive_max_s < 0xFFFF:
            answer[p.SERVER_KEEP_ALIVE] = self.machine.keep_alive_s = limits.keep_alive_max_s

    def _accept(self, connack: Connack) -> None:
        self.resume_input("connecting")
        session = self.session
        if self.is_over or session is None:
            return
        limits = self.service.limits
        accepted = self.machine.accept(connack, limits.topic_alias_max, limits.packet_bytes_max)
        if not accepted:
            self.fail(MqttError(r.PACKET_TOO_LARGE, "the client takes no packet as large as our CONNACK"))
            return
        self.write(accepted)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._watch_keep_alive()
        # What was released before goes first [MQTT-4.4.0-1], then the queue delivers again, in order.
        if session.inflight.released:
            self.write(encode.encode_acks(c.PUBREL, list(session.inflight.released)))
        self.service.start_deliveries(self, session)
        self._process(self.machine.receive(b"", self.broker.clock.elapsed_ms()))

    def _watch_keep_alive(self) -> None:
        """Close after one and a half keep-alive intervals of silence [MQTT-3.1.2-22]."""
        allowed_s = self.machine.keep_alive_s * 1.5
        if not allowed_s or self.is_over:
            return
        left_s = self.last_received + allowed_s - self.loop.time()
        if self._input_held:
            # Its silence is ours.
            left_s = allowed_s
        elif left_s <= 0:
            self.fail(MqttError(r.KEEP_ALIVE_TIMEOUT, f"nothing was received for {allowed_s:g} s"))
            return
        late_s = 1 if left_s >= COARSE_FROM_S else 0
        self._timer = self.call_coarsely(left_s + late_s, self._watch_keep_alive)

    def _on_disconnect(self, disconnect: Disconnect) -> None:
        session = self.session
        expiry_s = disconnect.properties.get(p.SESSION_EXPIRY_INTERVAL)
        if session is not None and isinstance(expiry_s, int):
            if expiry_s and not session.is_persistent:
                self.fail(
                    MqttError(r.PROTOCOL_ERROR, "a session without expiry cannot get one at DISCONNECT")
                )
                return
            session.expiry_s = min(expiry_s, self.service.limits.session_expiry_max_s)
        logger.info("%s: client '%s' disconnected", self.peer, self._client_id)
        self._end(None if disconnect.reason != r.DISCONNECT_WITH_WILL else self._will)
        self.close_after_flush()

    # -- for the management API ------------------------------------------------------------------------------------

    @property
    def _client_id(self) -> str:
        return self.session.client_id if self.session is not None else ""

    @property
    def _version_name(self) -> str:
        return VERSION_NAMES[self.machine.version]

    @property
    def _name(self) -> str:
        return f"{self.peer} -> {self._address('sockname')}"

    def _address(self, end: str) -> str:
        return address_text(self.transport.get_extra_info(end)) if self.transport is not None else "?"

    def details(self) -> dict[str, Any]:
        """See `ConnectionInfo.details`; the keys are RabbitMQ's."""
        peer_host, _, peer_port = self.peer.rpartition(":")
        host, _, port = self._address("sockname").rpartition(":")
        return {
            "name": self._name,
            "node": self.broker.name,
            "vhost": self._vhost.name if self._vhost is not None else "",
            "user": self._user.name if self._user is not None else "",
            "protocol": self._version_name,
            "type": "network",
            "state": "running",
            "ssl": self.transport is not None and self.transport.get_extra_info("ssl_object") is not None,
            "auth_mechanism": "PLAIN",
            "host": host,
            "port": int(port) if port.isdigit() else 0,
            "peer_host": peer_host,
            "peer_port": int(peer_port) if peer_port.isdigit() else 0,
            "connected_at": self.connected_at_ms,
            "timeout": self.machine.keep_alive_s,
            "channels": 0,
            "recv_oct": self.bytes_received,
            "send_oct": self.bytes_sent,
            "client_properties": {"client_id": self._client_id, "product": "MQTT client"},
            "variable_map": {"client_id": self._client_id},
        }
