"""What all MQTT connections of a node share: sessions, retained messages, wills, and their place in the store."""

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from edge.broker import Broker
from edge.core.errors import BrokerError
from edge.core.message import PERSISTENT, RETAIN, Message
from edge.core.queue import Queue
from edge.core.vhost import VHost
from edge.store.store import encode
from mqtt import constants as c
from mqtt.delivery import QOS0_UNSENT_BYTES_MAX, FanOut, Link, SessionQueue
from mqtt.filters import SHARE_PREFIX, WireCache, routing_key_of
from mqtt.inflight import WINDOW_MAX, Qos2Record
from mqtt.limits import MqttLimits
from mqtt.packets import Connect, Subscription, Will
from mqtt.retained import Retained
from mqtt.session import FROM_RETAINED, Session, SessionRecord
from mqtt.shares import Shares
from mqtt.sys_topics import SysTopics, Traffic, is_sys
from mqtt.will import KIND_WILL, Wills, key_of, will_message

if TYPE_CHECKING:
    from mqtt.server import MqttServerProtocol

logger = logging.getLogger("mqtt.service")

KIND_SESSION: Final = "mqtt-session"
KIND_QOS2: Final = "mqtt-qos2"
KIND_RETAINED: Final = "retained"


def session_key(vhost: str, client_id: str) -> str:
    """The key of a session's records; a vhost's name has no NUL."""
    return f"{vhost}\0{client_id}"


class MqttService:
    """One per node, made before the broker recovers, so that it can build the sessions' queues again."""

    def __init__(self, broker: Broker, limits: MqttLimits | None = None) -> None:
        self.broker = broker
        self.limits = limits or MqttLimits()
        self.cache = WireCache()
        self.fan_out = FanOut()
        self.sessions: dict[str, Session] = {}
        self.connected: dict[Session, MqttServerProtocol] = {}
        self.wills = Wills(broker, self.publish_will)
        self.shares = Shares(broker, self.cache)
        self.sys = SysTopics(self, self.limits.sys_interval_s)
        self.traffic = Traffic()
        self._retained: dict[str, Retained] = {}
        broker.queue_kinds[SessionQueue.kind] = SessionQueue

    # -- life ------------------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Bring back sessions and retained messages, after the broker's queues."""
        store = self.broker.store
        now_ms = self.broker.clock.elapsed_ms()
        for value in (await store.records(KIND_SESSION)).values():
            record = msgspec.msgpack.decode(value, type=SessionRecord)
            session = Session(record.vhost, record.client_id, self.cache)
            session.restore(record)
            # Connected until the node stopped: its expiry interval starts now.
            session.disconnected_at_ms = session.disconnected_at_ms or now_ms
            self.sessions[session_key(record.vhost, record.client_id)] = session
            self._attach_queue(session)
        self.shares.recover(list(self.sessions.values()))
        for key, value in (await store.records(KIND_QOS2)).items():
            found = self.sessions.get(key)
            if found is not None:
                next_sequence = found.queue.next_sequence if found.queue is not None else 1
                found.inflight.restore(msgspec.msgpack.decode(value, type=Qos2Record), next_sequence)
        for key, value in (await store.records(KIND_WILL)).items():
            self.wills.restore(key, self.sessions.get(key), value)
        for key, value in (await store.records(KIND_RETAINED)).items():
            message = msgspec.msgpack.decode(value, type=Message)
            self.retained(key.partition("\0")[0]).set(message)
        self.wills.resume()
        for key in list(self.sessions):
            self._expire(key)

    async def stop(self) -> None:
        """Sessions and retained messages are in the store already, and the broker stops its deadlines."""
        self.sys.stop()

    def _attach_queue(self, session: Session) -> None:
        vhost = self.broker.vhosts.get(session.vhost)
        queue = vhost.queues.get(session.queue_name) if vhost is not None else None
        if isinstance(queue, SessionQueue):
            queue.session = session
            session.queue = queue

    # -- connections -----------------------------------------------------------------------------------------------

    def open_session(
        self, protocol: "MqttServerProtocol", connect: Connect, vhost: VHost
    ) -> tuple[Session, bool]:
        """The session of a client that was let in, and whether it was there before.

        Ends the client's other connection [MQTT-3.1.4-3], and with clean start its old session [MQTT-3.1.2-4].
        """
        key = session_key(vhost.name, connect.client_id)
        session = self.sessions.get(key)
        if session is not None and session in self.connected:
            self.connected[session].take_over()
            session = self.sessions.get(key)
        if session is not None and connect.clean_start:
            self.end_session(session)
            session = None
        present = session is not None
        if session is None:
            session = self.sessions[key] = Session(vhost.name, connect.client_id, self.cache)
        session.disconnected_at_ms = 0
        session.is_bridge = connect.is_bridge
        session.grants.clear()
        session.inflight.window = min(WINDOW_MAX, protocol.machine.peer_receive_max)
        self.connected[session] = protocol
        return session, present

    def save(self, session: Session) -> bool:
        """Put the session's record into the next commit; False if it ends with its connection."""
        if not session.is_persistent:
            return False
        session.is_stored = True
        key = session_key(session.vhost, session.client_id)
        self.broker.store.put(KIND_SESSION, key, encode(session.record()))
        return True

    def save_qos2(self, session: Session) -> bool:
        """Put the session's QoS 2 state into the next commit; False if it ends with its connection."""
        if not session.is_persistent:
            return False
        record = session.inflight.record()
        key = session_key(session.vhost, session.client_id)
        # Identifiers that came in stand for messages.
        self.broker.store.put(
            KIND_QOS2,
            key,
            encode(record) if record is not None else None,
            with_messages=bool(session.inflight.received),
        )
        return True

    def start_deliveries(self, protocol: "MqttServerProtocol", session: Session) -> None:
        """Let the session's queue and its shared subscriptions deliver to the connection."""
        self._start_own(protocol, session)
        self.shares.start(protocol, session)
        self.sys.look_at(session)

    def _start_own(self, protocol: "MqttServerProtocol", session: Session) -> None:
        queue = session.queue
        if queue is None or queue.deleted:
            return
        broker = self.broker
        link = Link(
            session, queue, protocol, protocol.machine, broker.clock, self.fan_out, broker.back_pressure
        )
        session.link = link
        self.broker.consume(link)

    def connection_ended(
        self, protocol: "MqttServerProtocol", session: Session, will: Will | None, had_will: bool
    ) -> None:
        """The connection is gone; `will` is None after a DISCONNECT that took it back [MQTT-3.14.4-3]."""
        self.connected.pop(session, None)
        link, session.link = session.link, None
        self.sys.look_at(session)
        self.traffic.bytes_received += protocol.bytes_received
        self.traffic.bytes_sent += protocol.bytes_sent
        if link is not None:
            self.traffic.messages_sent += link.delivered
            self.broker.back_pressure.caught_up(link)
            self.broker.cancel(link)
            entries = session.inflight.take_back()
            if not link.queue.deleted:
                link.queue.requeue(entries)
        self.shares.stop(session, is_over=not session.is_persistent)
        session.disconnected_at_ms = self.broker.clock.elapsed_ms()
        if will is not None:
            self.wills.connection_lost(session, will)
        elif had_will:
            self.wills.forget(session)
        if session.is_persistent:
            self.save(session)
            self._schedule_expiry(session)
        else:
            self.end_session(session)
        self.broker.connection_closed(protocol)

    # -- the end of sessions ---------------------------------------------------------------------------------------

    def end_session(self, session: Session) -> None:
        """Forget a session that is not connected, with its queue and what waits in it."""
        self.wills.flush(key_of(session))
        self.shares.stop(session, is_over=True)
        key = session_key(session.vhost, session.client_id)
        if self.sessions.get(key) is session:
            del self.sessions[key]
        queue, session.queue = session.queue, None
        if queue is not None and not queue.deleted:
            self.broker.delete_queue(self.broker.vhosts[session.vhost], queue)
        if session.is_stored:
            session.is_stored = False
            self.broker.store.put(KIND_SESSION, key, None)
            self.broker.store.put(KIND_QOS2, key, None)

    def _schedule_expiry(self, session: Session) -> None:
        deadline_ms = session.expires_at_ms()
        if deadline_ms is not None:
            key = session_key(session.vhost, session.client_id)
            self.broker.deadlines.set((KIND_SESSION, key), deadline_ms, partial(self._expire, key))

    def _expire(self, key: str) -> None:
        """End a session whose expiry interval is over [MQTT-3.1.2-23]."""
        session = self.sessions.get(key)
        deadline_ms = session.expires_at_ms() if session is not None else None
        if session is None or deadline_ms is None or session in self.connected:
            return
        if deadline_ms > self.broker.elapsed_ms():
            # It has been back meanwhile.
            self._schedule_expiry(session)
            return
        logger.info("session of '%s' in vhost '%s' expired", session.client_id, session.vhost)
        self.end_session(session)

    # -- subscriptions ---------------------------------------------------------------------------------------------

    def subscribe(self, protocol: "MqttServerProtocol", session: Session, subscription: Subscription) -> bool:
        """Add or replace a subscription; True if it is new. Raises BrokerError if the queue cannot be had."""
        if subscription.filter.startswith(SHARE_PREFIX):
            return self.shares.join(protocol, session, subscription)
        vhost = self.broker.vhosts[session.vhost]
        queue = self._queue(protocol, session, vhost)
        key = routing_key_of(subscription.filter)
        self.broker.bind(vhost, c.TOPIC_EXCHANGE, queue.name, key)
        is_new = session.subscribe(subscription)
        if session.link is None or (
            subscription.qos == 2 and queue.durable and not session.link.committed_only
        ):
            self._restart_deliveries(protocol, session)
        if is_sys(subscription.filter):
            self.sys.look_at(session)
        return is_new

    def unsubscribe(self, session: Session, topic_filter: str) -> bool:
        """Remove a subscription; False if there is none."""
        if topic_filter.startswith(SHARE_PREFIX) and topic_filter in session.subscriptions:
            self.shares.leave(session, topic_filter)
            return True
        if not session.unsubscribe(topic_filter):
            return False
        if is_sys(topic_filter):
            self.sys.look_at(session)
        queue = session.queue
        if queue is not None and not queue.deleted:
            vhost = self.broker.vhosts[session.vhost]
            self.broker.unbind(vhost, c.TOPIC_EXCHANGE, queue.name, routing_key_of(topic_filter))
        return True

    def restore_queue(self, protocol: "MqttServerProtocol", session: Session) -> None:
        """Make the queues of a resumed session again, should an operator have deleted them. Raises BrokerError."""
        self.shares.restore(session)
        queue = session.queue
        filters = session.own_filters()
        if not filters or (queue is not None and not queue.deleted):
            return
        vhost = self.broker.vhosts[session.vhost]
        queue = self._queue(protocol, session, vhost)
        for topic_filter in filters:
            self.broker.bind(vhost, c.TOPIC_EXCHANGE, queue.name, routing_key_of(topic_filter))

    def _queue(self, protocol: "MqttServerProtocol", session: Session, vhost: VHost) -> SessionQueue:
        queue = session.queue
        if queue is not None and not queue.deleted:
            return queue
        is_persistent = session.is_persistent
        made = self.broker.declare_queue(
            vhost,
            session.queue_name,
            durable=is_persistent,
            exclusive=not is_persistent,
            owner=protocol,
            kind=SessionQueue.kind,
        )
        if not isinstance(made, SessionQueue):
            raise BrokerError(f"queue '{made.name}' in vhost '{vhost.name}' is no MQTT session's")
        made.session = session
        session.queue = made
        return made

    def _restart_deliveries(self, protocol: "MqttServerProtocol", session: Session) -> None:
        """Consume anew: for the first subscription, and for the first of QoS 2 (see `Link.committed_only`)."""
        if session.link is not None:
            self.traffic.messages_sent += session.link.delivered
            self.broker.back_pressure.caught_up(session.link)
            self.broker.cancel(session.link)
        self._start_own(protocol, session)

    # -- retained messages and wills -------------------------------------------------------------------------------

    def retained(self, vhost: str) -> Retained:
        """The retained messages of a vhost."""
        found = self._retained.get(vhost)
        if found is None:
            limits = self.limits
            found = self._retained[vhost] = Retained(limits.retained_messages_max, limits.retained_bytes_max)
        return found

    def retain(self, vhost: str, messages: list[Message]) -> None:
        """Keep the messages that ask for it as the last ones of their topics, here and in the next commit."""
        retained = self.retained(vhost)
        for message in messages:
            if message.flags & RETAIN:
                retained.set(message)
                value = encode(message) if message.body else None
                key = f"{vhost}\0{message.routing_key}"
                self.broker.store.put(KIND_RETAINED, key, value, with_messages=True)

    def send_retained(self, session: Session, subscription: Subscription) -> None:
        """Give a new subscription what its topics retain [MQTT-3.3.1-9]."""
        queue, link = session.queue, session.link
        if queue is None or link is None:
            return
        if is_sys(subscription.filter):
            self.sys.tell(session, subscription.filter)
            return
        now_ms = self.broker.clock.elapsed_ms()
        kept: list[Message] = []
        direct: list[Message] = []
        for message in self.retained(session.vhost).match(subscription.filter):
            if 0 < message.expires_at_ms <= now_ms:
                continue
            copy = msgspec.structs.replace(message, flags=message.flags | FROM_RETAINED)
            (kept if copy.flags & PERSISTENT and subscription.qos else direct).append(copy)
        if sum([len(message.body) for message in direct]) > QOS0_UNSENT_BYTES_MAX:
            # The queue gives them as fast as the client reads, and keeps most of them on the disk.
            kept, direct = kept + direct, []
        if direct:
            link.deliver_now(direct, False)
        if kept:
            Queue.enqueue(queue, kept)

    def publish_will(self, vhost_name: str, will: Will, session: Session | None) -> None:
        """Publish a will on behalf of its client."""
        vhost = self.broker.vhosts.get(vhost_name)
        if vhost is None:
            return
        message = will_message(will, self.broker.clock.elapsed_ms())
        if message.routing_key.startswith(c.SYS_KEY_PREFIX):
            # Mosquitto's bridges have such wills; they connect, and say nothing.
            return
        self.broker.publish(vhost, message.exchange, [message], session)
        if will.retain and self.retained(vhost_name).has_room(message):
            self.retain(vhost_name, [message])
