"""The MQTT connection machine: who may send what and when, and within which limits. Knows no socket and no broker.

One class plays both roles, so a client is also the test peer of a server. `receive` turns bytes into events, the other
methods turn decisions into bytes. A server machine halts at CONNECT until `accept` or `refuse`.
"""

from typing import Final, final

from mqtt import constants as c
from mqtt import properties as p
from mqtt.codec import Decoder
from mqtt.encode import (
    encode_ack,
    encode_acks,
    encode_connack,
    encode_connect,
    encode_disconnect,
    encode_suback,
    encode_unsuback,
)
from mqtt.filters import WireCache
from mqtt.packets import (
    Connack,
    Connect,
    Event,
    Pingreq,
    Pingresp,
    PublishRun,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from mqtt.properties import Properties
from mqtt.reasons import (
    ACK_TEXTS,
    PROTOCOL_ERROR,
    RECEIVE_MAXIMUM_EXCEEDED,
    SUCCESS,
    MqttError,
    PeerError,
    UnsupportedVersion,
)

_FROM_CLIENT: Final = (Subscribe, Unsubscribe, Pingreq, Connect)
_FROM_SERVER: Final = (Suback, Unsuback, Pingresp, Connack)


@final
class Connection:
    """One end of an MQTT connection.

    `fault` is set when the peer broke the protocol: the events returned until then count, the rest is not read, and
    the connection is to be ended with `fault.reason`.
    """

    __slots__ = (
        "_decoder",
        "_inbound",
        "cache",
        "is_open",
        "keep_alive_s",
        "peer_alias_max",
        "peer_packet_bytes_max",
        "peer_receive_max",
        "receive_max",
        "role",
        "wants_problem_information",
        "wants_response_information",
    )

    def __init__(self, role: int, cache: WireCache) -> None:
        self.role = role
        self.cache = cache
        self.is_open = False
        self.keep_alive_s = 0
        # Our limits
        self.receive_max = c.PACKET_ID_MAX
        self._inbound = 0  # QoS>0 publishes of the peer that we have not answered finally
        # The peer's limits (section 3.1.2.11, 3.2.2.3)
        self.peer_receive_max = c.PACKET_ID_MAX
        self.peer_packet_bytes_max = c.REMAINING_LENGTH_MAX
        self.peer_alias_max = 0
        #: Whether reason strings may go out on other packets than CONNACK and DISCONNECT [MQTT-3.1.2-29].
        self.wants_problem_information = True
        self.wants_response_information = False
        self._decoder = Decoder(role, 0, cache)

    @property
    def version(self) -> int:
        """Protocol level; 0 on a server before CONNECT."""
        return self._decoder.version

    @property
    def fault(self) -> MqttError | None:
        """What the peer did wrong."""
        return self._decoder.fault

    def receive(self, data: bytes, now_ms: int = 0) -> list[Event]:
        """Events of all packets that are whole now; `now_ms` is the elapsed time of the read."""
        decoder = self._decoder
        events = decoder.feed(data, now_ms)
        for i, event in enumerate(events):
            if type(event) is PublishRun:
                if decoder.version == c.V5 and not self._count_inbound(event):
                    return events[:i]
                continue
            fault = self._misplaced(event)
            if fault is not None:
                decoder.fault = fault
                return events[:i]
            if type(event) is Connack:
                self._accepted(event)
        return events

    def _count_inbound(self, run: PublishRun) -> bool:
        """Receive Maximum: the peer must not have more unanswered [MQTT-3.3.4-7] [MQTT-3.3.4-9]."""
        self._inbound += len(run.packet_ids) - run.packet_ids.count(0)
        if self._inbound > self.receive_max:
            self._decoder.fault = PeerError(
                RECEIVE_MAXIMUM_EXCEEDED,
                f"more than {self.receive_max} publishes without an answer [MQTT-3.3.4-9]",
            )
            return False
        return True

    def _misplaced(self, event: Event) -> PeerError | None:
        if isinstance(event, _FROM_SERVER if self.role == c.SERVER else _FROM_CLIENT):
            return PeerError(PROTOCOL_ERROR, f"{type(event).__name__.upper()} goes the other way")
        if self.role == c.CLIENT and self.is_open == isinstance(event, Connack):
            return PeerError(PROTOCOL_ERROR, "first packet is not CONNACK, or it came twice [MQTT-3.2.0-1]")
        return None

    # -- the server's side of the handshake ------------------------------------------------------------------------

    def learn_peer(self, connect: Connect) -> None:
        """Take over the limits that a client sets in its CONNECT."""
        self.keep_alive_s = connect.keep_alive_s
        self._learn(connect.properties)
        self.wants_problem_information = bool(connect.properties.get(p.REQUEST_PROBLEM_INFORMATION, 1))
        self.wants_response_information = bool(connect.properties.get(p.REQUEST_RESPONSE_INFORMATION, 0))

    def accept(self, connack: Connack, alias_max: int, packet_bytes_max: int) -> bytes:
        """The CONNACK that opens the connection; `receive(b"")` then yields what the client sent meanwhile.

        Empty when it is larger than what the client takes: there is nothing to say to it [MQTT-3.1.2-24].
        """
        decoder = self._decoder
        decoder.alias_max = alias_max
        decoder.packet_bytes_max = packet_bytes_max
        receive_max = connack.properties.get(p.RECEIVE_MAXIMUM, c.PACKET_ID_MAX)
        assert isinstance(receive_max, int)
        self.receive_max = receive_max
        packet = encode_connack(connack, decoder.version)
        if len(packet) > self.peer_packet_bytes_max:
            return b""
        decoder.is_halted = False
        self.is_open = True
        return packet

    def refuse(self, reason: int, text: str = "") -> bytes:
        """The CONNACK that refuses the client; empty when it has no version, or none with a code for the reason."""
        version = self._decoder.version
        fault = self._decoder.fault
        if isinstance(fault, UnsupportedVersion):
            version = fault.answer_in
        if not version:
            return b""
        properties: Properties = {p.REASON_STRING: text} if text else {}
        refusal = encode_connack(Connack(False, reason, properties), version)
        if len(refusal) > self.peer_packet_bytes_max:
            refusal = encode_connack(Connack(False, reason), version)
        return refusal if len(refusal) <= self.peer_packet_bytes_max else b""

    # -- the client's side of the handshake ------------------------------------------------------------------------

    def connect(self, connect: Connect) -> bytes:
        """The CONNECT that starts the connection; its limits become ours."""
        decoder = self._decoder
        decoder.version = connect.version
        decoder.packet_bytes_max = _limit(connect.properties, p.MAXIMUM_PACKET_SIZE, c.PACKET_BYTES_MAX)
        decoder.alias_max = _limit(connect.properties, p.TOPIC_ALIAS_MAXIMUM, 0)
        self.receive_max = _limit(connect.properties, p.RECEIVE_MAXIMUM, c.PACKET_ID_MAX)
        self.keep_alive_s = connect.keep_alive_s
        return encode_connect(connect)

    def _accepted(self, connack: Connack) -> None:
        if connack.reason != SUCCESS:
            return
        self.is_open = True
        self._learn(connack.properties)
        self.keep_alive_s = _limit(connack.properties, p.SERVER_KEEP_ALIVE, self.keep_alive_s)

    def _learn(self, properties: Properties) -> None:
        self.peer_receive_max = _limit(properties, p.RECEIVE_MAXIMUM, c.PACKET_ID_MAX)
        self.peer_packet_bytes_max = _limit(properties, p.MAXIMUM_PACKET_SIZE, c.REMAINING_LENGTH_MAX + 5)
        self.peer_alias_max = _limit(properties, p.TOPIC_ALIAS_MAXIMUM, 0)

    # -- while open ------------------------------------------------------------------------------------------------

    def acknowledge(self, kind: int, packet_ids: list[int]) -> bytes:
        """Joined successful PUBACK, PUBREC, PUBREL or PUBCOMP packets."""
        if kind in (c.PUBACK, c.PUBCOMP):
            self._inbound = max(0, self._inbound - len(packet_ids))
        return encode_acks(kind, packet_ids)

    def acknowledge_with(self, kind: int, packet_id: int, reason: int) -> bytes:
        """One acknowledgement with a reason code; a PUBREC of 0x80 or more ends its flow (section 4.3.3)."""
        if kind in (c.PUBACK, c.PUBCOMP) or (kind == c.PUBREC and reason >= 0x80):
            self._inbound = max(0, self._inbound - 1)
        version = self._decoder.version
        text = ACK_TEXTS.get(reason, "") if self.wants_problem_information else ""
        answer = encode_ack(kind, packet_id, reason, version, text)
        if len(answer) > self.peer_packet_bytes_max:
            return encode_ack(kind, packet_id, reason, version)
        return answer

    def subscribed(self, suback: Suback, text: str = "") -> bytes:
        """A SUBACK, with a reason string if the client wants one and takes it [MQTT-3.9.2-1]; empty if too large."""
        version = self._decoder.version
        if text and self.wants_problem_information and version == c.V5:
            told = encode_suback(Suback(suback.packet_id, suback.reasons, {p.REASON_STRING: text}), version)
            if len(told) <= self.peer_packet_bytes_max:
                return told
        packet = encode_suback(suback, version)
        return packet if len(packet) <= self.peer_packet_bytes_max else b""

    def unsubscribed(self, unsuback: Unsuback) -> bytes:
        """An UNSUBACK; empty if it is larger than the client takes."""
        packet = encode_unsuback(unsuback, self._decoder.version)
        return packet if len(packet) <= self.peer_packet_bytes_max else b""

    def disconnect(self, reason: int, text: str = "") -> bytes:
        """A DISCONNECT; empty from a server of MQTT 3, which can only close."""
        version = self._decoder.version
        if self.role == c.SERVER and version != c.V5:
            return b""
        properties: Properties = {p.REASON_STRING: text} if text else {}
        packet = encode_disconnect(reason, properties, version)
        # The reason string must not make it larger than the peer takes [MQTT-3.14.2-3].
        if len(packet) > self.peer_packet_bytes_max:
            packet = encode_disconnect(reason, {}, version)
        return packet if len(packet) <= self.peer_packet_bytes_max else b""


def _limit(properties: Properties, identifier: int, default: int) -> int:
    value = properties.get(identifier, default)
    assert isinstance(value, int)
    return value
