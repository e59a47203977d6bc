"""The flows of QoS 0, 1 and 2 between one client and the broker, both ways (MQTT 5 section 4.3).

An acknowledgement that promises something leaves after the commit that holds it, by one callback a run.
"""

from collections import deque
from typing import TYPE_CHECKING, final

from edge.auth.users import User
from edge.core.consumer import Entry
from edge.core.message import QOS2, RETAIN, Message
from edge.core.vhost import PublishResult, VHost
from mqtt import constants as c
from mqtt import reasons as r
from mqtt.login import may
from mqtt.packets import AckRun, PublishRun
from mqtt.service import MqttService
from mqtt.session import Session

if TYPE_CHECKING:
    from mqtt.server import MqttServerProtocol

Held = tuple[int, list[int], dict[int, int]]
"""Acknowledgements that wait for a commit: kind, packet ids, reasons other than 0."""


@final
class Flows:
    """Publishes and acknowledgements of one connection that was let in."""

    def __init__(
        self,
        protocol: "MqttServerProtocol",
        service: MqttService,
        session: Session,
        user: User,
        vhost: VHost,
    ) -> None:
        self._protocol = protocol
        self._machine = protocol.machine
        self._service = service
        self._broker = service.broker
        self._session = session
        self._user = user
        self._vhost = vhost
        self._held: deque[Held] = deque()
        #: Whether the last of them waits for messages, and so whatever comes behind it.
        self._holds_for_messages = False

    def stop(self) -> None:
        """The connection is over: nothing is acknowledged any more."""
        self._held.clear()

    # -- publish ---------------------------------------------------------------------------------------------------

    def publishes(self, run: PublishRun) -> bool:
        """Publish a run and acknowledge it; False if the client may not and can only be disconnected [MQTT-3.3.5-2]."""
        refused = self._refused(run)
        if not refused:
            self._publish(run, run, {})
            return True
        if self._machine.version == c.V5:
            rest = _part(run, [message for message in run.messages if id(message) not in refused])
            self._publish(run, rest, refused)
            return True
        taken: list[Message] = []
        acknowledged: list[Message] = []
        for message in run.messages:
            reason = refused.get(id(message))
            if reason == r.NOT_AUTHORIZED:
                break
            if reason is None:
                taken.append(message)
            # What goes to $SYS is ignored, for Mosquitto's bridges; that there is no room is said by silence.
            if reason in (None, r.TOPIC_NAME_INVALID):
                acknowledged.append(message)
        if acknowledged:
            self._publish(_part(run, acknowledged), _part(run, taken), {})
        return r.NOT_AUTHORIZED not in refused.values()

    def _refused(self, run: PublishRun) -> dict[int, int]:
        """What may not be published, by identity of message: for what it is, for its topic, or to be retained."""
        auth, user, vhost = self._broker.auth, self._user, self._vhost
        if not may(auth, user, vhost, "write", c.TOPIC_EXCHANGE):
            return {id(message): r.NOT_AUTHORIZED for message in run.messages}
        refused = run.refused
        if run.retained:
            retained = self._service.retained(vhost.name)
            for message in [] if retained.is_roomy(run.messages) else run.messages:
                if message.flags & RETAIN and not retained.has_room(message):
                    refused = refused | {id(message): r.QUOTA_EXCEEDED}
        rule = auth.topics.rule(user.name, vhost.name, c.TOPIC_EXCHANGE)
        if rule is not None:
            client_id = self._session.client_id
            for message in run.messages:
                if not rule.allows("write", message.routing_key, client_id):
                    refused = refused | {id(message): r.NOT_AUTHORIZED}
        return refused

    def _publish(self, run: PublishRun, taken: PublishRun, reasons: dict[int, int]) -> None:
        """Publish `taken` and acknowledge `run`, the rest of it with `reasons` by identity of message."""
        session, vhost = self._session, self._vhost
        if self._broker.is_full:
            self._publish_on_full_disk(run, taken, reasons)
            return
        messages = taken.messages
        if taken.qos2:
            messages = self._new_ones(taken, session)
        self._service.traffic.messages_received += len(messages)
        result = self._broker.publish(vhost, c.TOPIC_EXCHANGE, messages, session)
        durable = result.durable
        if taken.retained:
            self._service.retain(vhost.name, messages)
            durable = True
        if result.rejected:
            run = self._take_out_rejected(run, result, session)
        packet_ids = run.packet_ids
        if run.qos2:
            durable = self._service.save_qos2(session) or durable
            self._acknowledge_mixed(run, self._reasons(run, result, reasons), durable)
            return
        if 0 in packet_ids:
            packet_ids = [packet_id for packet_id in packet_ids if packet_id]
        if packet_ids:
            self._acknowledge(c.PUBACK, packet_ids, self._reasons(run, result, reasons), durable)

    def _publish_on_full_disk(self, run: PublishRun, taken: PublishRun, reasons: dict[int, int]) -> None:
        """Store nothing: QoS 0 goes to those who are there, the rest is refused (MQTT 5 section 4.13)."""
        received = self._session.inflight.received
        places = list(zip(taken.messages, taken.packet_ids, strict=True))
        passed = [message for message, packet_id in places if not packet_id]
        # What was sent again at QoS 2 is here.
        refused = [
            message
            for message, packet_id in places
            if packet_id and not (message.flags & QOS2 and packet_id in received)
        ]
        self._vhost.pass_on(c.TOPIC_EXCHANGE, passed, self._session)
        self._vhost.count_refused(c.TOPIC_EXCHANGE, refused)
        reasons = reasons | {id(message): r.QUOTA_EXCEEDED for message in refused}
        durable = len(passed) + len(refused) < len(places)
        self._acknowledge_mixed(run, self._reasons(run, PublishResult(), reasons), durable)

    def _new_ones(self, run: PublishRun, session: Session) -> list[Message]:
        """The run without QoS 2 messages that came before: their ids are not released [MQTT-4.3.3-10]."""
        received = session.inflight.received
        new: list[Message] = []
        for message, packet_id in zip(run.messages, run.packet_ids, strict=True):
            if packet_id and message.flags & QOS2:
                if packet_id in received:
                    continue
                received.add(packet_id)
            new.append(message)
        return new

    def _take_out_rejected(self, run: PublishRun, result: PublishResult, session: Session) -> PublishRun:
        """The run to acknowledge when a full queue did not take all of it.

        MQTT 5 gets a reason; MQTT 3 can only be told by silence, as RabbitMQ does.
        """
        rejected = {id(message) for message in result.rejected}
        places = list(zip(run.messages, run.packet_ids, strict=True))
        # The exchange is over with the error, and the id may be used anew [MQTT-4.3.3-9].
        session.inflight.received.difference_update(
            [packet_id for message, packet_id in places if id(message) in rejected]
        )
        if self._machine.version == c.V5:
            return run
        return _part(run, [message for message in run.messages if id(message) not in rejected])

    def _acknowledge_mixed(self, run: PublishRun, reasons: dict[int, int], durable: bool) -> None:
        qos1: list[int] = []
        qos2: list[int] = []
        for message, packet_id in zip(run.messages, run.packet_ids, strict=True):
            if packet_id:
                (qos2 if message.flags & QOS2 else qos1).append(packet_id)
        if qos1:
            self._acknowledge(c.PUBACK, qos1, reasons, durable)
        if qos2:
            self._acknowledge(c.PUBREC, qos2, reasons, durable)

    def _reasons(self, run: PublishRun, result: PublishResult, known: dict[int, int]) -> dict[int, int]:
        """Reasons by packet id: `known` ones, no subscriber, a queue that is full; MQTT 3 cannot say them."""
        if not (result.unrouted or result.rejected or known) or self._machine.version != c.V5:
            return {}
        reasons = {id(message): r.NO_MATCHING_SUBSCRIBERS for message in result.unrouted} | known
        for message in result.rejected:
            reasons[id(message)] = r.QUOTA_EXCEEDED
        return {
            packet_id: reasons[id(message)]
            for message, packet_id in zip(run.messages, run.packet_ids, strict=True)
            if packet_id and id(message) in reasons
        }

    def _acknowledge(
        self,
        kind: int,
        packet_ids: list[int],
        reasons: dict[int, int],
        durable: bool,
        with_messages: bool = True,
    ) -> None:
        """Send acknowledgements, after the commit if they promise something; never past earlier ones [MQTT-4.6.0-2]."""
        if durable or self._held:
            self._holds_for_messages = with_messages or (bool(self._held) and self._holds_for_messages)
            self._held.append((kind, packet_ids, reasons))
            self._broker.after_commit(self._release, with_messages=self._holds_for_messages)
        else:
            self._write_acks(kind, packet_ids, reasons)

    def _release(self) -> None:
        if self._held:
            self._write_acks(*self._held.popleft())

    def _write_acks(self, kind: int, packet_ids: list[int], reasons: dict[int, int]) -> None:
        if not reasons:
            self._protocol.write(self._machine.acknowledge(kind, packet_ids))
            return
        acknowledge_with = self._machine.acknowledge_with
        self._protocol.write(
            b"".join([acknowledge_with(kind, one, reasons.get(one, 0)) for one in packet_ids])
        )

    # -- acknowledgements ------------------------------------------------------------------------------------------

    def acknowledgements(self, run: AckRun) -> None:
        """A run of PUBACK, PUBREC, PUBREL or PUBCOMP of the client."""
        session = self._session
        queue = session.queue
        inflight = session.inflight
        kind = run.kind
        if kind == c.PUBREL:
            inflight.received.difference_update(run.packet_ids)
            durable = self._service.save_qos2(session)
            self._acknowledge(c.PUBCOMP, run.packet_ids, {}, durable, bool(inflight.received))
            return
        if kind == c.PUBACK:
            entries = inflight.acknowledged(run.packet_ids)
            if inflight.shared:
                inflight.settle_shared(run.packet_ids, is_release=False)
        elif kind == c.PUBREC:
            entries = self._released(run, session)
        else:
            entries = []
            inflight.completed(run.packet_ids)
            self._service.save_qos2(session)
        if queue is not None and not queue.deleted:
            if entries:
                queue.settle(entries)
                self._broker.stats.ack += len(entries)
            queue.wake()
        self._service.shares.wake(session)

    def _released(self, run: AckRun, session: Session) -> list[Entry]:
        """PUBREC: settle, remember the ids, and send PUBREL once that is on disk [MQTT-4.3.3-4]."""
        inflight = session.inflight
        entries = []
        packet_ids: list[int] = []
        reasons: dict[int, int] = {}
        for packet_id in run.packet_ids:
            if run.reasons.get(packet_id, 0) >= 0x80:
                entry = inflight.refuse(packet_id)
            else:
                entry = inflight.release(packet_id)
                packet_ids.append(packet_id)
                if entry is None and packet_id not in inflight.released:
                    reasons[packet_id] = r.PACKET_IDENTIFIER_NOT_FOUND
            if entry is not None:
                entries.append(entry)
        if packet_ids:
            # The record of identifiers waits for messages that it names, and what is settled here for the record.
            is_bound = bool(inflight.received)
            if is_bound and session.queue is not None:
                session.queue.settles_with_others = True
            self._acknowledge(c.PUBREL, packet_ids, reasons, self._service.save_qos2(session), is_bound)
        return entries


def _part(run: PublishRun, messages: list[Message]) -> PublishRun:
    """The run with these of its messages."""
    kept = {id(message) for message in messages}
    packet_ids = [
        packet_id
        for message, packet_id in zip(run.messages, run.packet_ids, strict=True)
        if id(message) in kept
    ]
    return PublishRun(messages, packet_ids, retained=run.retained, qos2=run.qos2)
