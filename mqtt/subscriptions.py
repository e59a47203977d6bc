"""SUBSCRIBE and UNSUBSCRIBE of one client that was let in (MQTT 5 sections 3.8 to 3.11)."""

import logging
from typing import TYPE_CHECKING, final

from edge.auth.users import User
from edge.core.errors import BrokerError
from edge.core.vhost import VHost
from mqtt import reasons as r
from mqtt.filters import SHARE_PREFIX, is_valid_filter, split_share
from mqtt.login import QUEUE_NAME_BYTES_MAX, may, may_use_topic
from mqtt.packets import Suback, Subscribe, Subscription, Unsuback, Unsubscribe
from mqtt.reasons import MqttError
from mqtt.service import MqttService
from mqtt.session import Session
from mqtt.shared import shared_queue_name

if TYPE_CHECKING:
    from mqtt.server import MqttServerProtocol

logger = logging.getLogger("mqtt.server")


@final
class Subscriptions:
    """What a connection does to its session's subscriptions. Answers leave once the session is on disk."""

    def __init__(
        self,
        protocol: "MqttServerProtocol",
        service: MqttService,
        session: Session,
        user: User,
        vhost: VHost,
    ) -> None:
        self._protocol = protocol
        self._service = service
        self._broker = service.broker
        self._session = session
        self._user = user
        self._vhost = vhost

    def subscribe(self, subscribe: Subscribe) -> None:
        """Add or replace subscriptions, answer, then send what their topics retain."""
        session = self._session
        reasons: list[int] = []
        with_retained: list[Subscription] = []
        for subscription in subscribe.subscriptions:
            reason, is_new = self._add(subscription)
            reasons.append(reason)
            # To a shared subscription no retained messages are sent (MQTT 5 section 4.8.2).
            is_shared = subscription.filter.startswith(SHARE_PREFIX)
            if reason < 0x80 and subscription.retain_handling < (2 if is_new else 1) and not is_shared:
                with_retained.append(subscription)
        suback = self._protocol.machine.subscribed(
            Suback(subscribe.packet_id, reasons), _why(subscribe.subscriptions, reasons)
        )

        def answer() -> None:
            if self._send(suback):
                for subscription in with_retained:
                    self._service.send_retained(session, subscription)

        if self._service.save(session):
            self._broker.after_commit(answer, with_messages=False)
        else:
            answer()

    def _add(self, subscription: Subscription) -> tuple[int, bool]:
        """The reason code for one topic filter, and whether it is new to the session."""
        session = self._session
        try:
            share, topic_filter = split_share(subscription.filter)
        except MqttError as error:
            return error.reason, False
        name = shared_queue_name(share, topic_filter) if share else session.queue_name
        if not is_valid_filter(topic_filter) or len(name.encode()) > QUEUE_NAME_BYTES_MAX:
            return r.TOPIC_FILTER_INVALID, False
        is_known = subscription.filter in session.subscriptions
        if len(session.subscriptions) >= self._service.limits.subscriptions_max and not is_known:
            return r.QUOTA_EXCEEDED, False
        if not self._is_allowed(name, topic_filter):
            return r.NOT_AUTHORIZED, False
        try:
            is_new = self._service.subscribe(self._protocol, session, subscription)
        except BrokerError as error:
            logger.warning(
                "%s: client '%s': not subscribed: %s", self._protocol.peer, session.client_id, error
            )
            return r.UNSPECIFIED_ERROR, False
        return subscription.qos, is_new

    def _is_allowed(self, queue_name: str, topic_filter: str) -> bool:
        """RabbitMQ's rights: all on the queue behind the subscription, read on the exchange and on the topic."""
        auth, user, vhost = self._broker.auth, self._user, self._vhost
        return all(
            may(auth, user, vhost, right, queue_name) for right in ("configure", "write", "read")
        ) and may_use_topic(auth, user, vhost, "read", topic_filter, self._session.client_id)

    def drop_forbidden(self) -> None:
        """Leave out of a resumed session what its user may not subscribe to: rights change, and so do users."""
        session = self._session
        for one in list(session.subscriptions):
            share, topic_filter = split_share(one)
            name = shared_queue_name(share, topic_filter) if share else session.queue_name
            if not self._is_allowed(name, topic_filter):
                logger.warning(
                    "%s: client '%s': user '%s' may not read '%s' any more: unsubscribed",
                    self._protocol.peer,
                    session.client_id,
                    self._user.name,
                    one,
                )
                self._service.unsubscribe(session, one)

    def unsubscribe(self, unsubscribe: Unsubscribe) -> None:
        """Remove subscriptions, and answer."""
        session = self._session
        reasons = [
            r.SUCCESS if self._service.unsubscribe(session, one) else r.NO_SUBSCRIPTION_EXISTED
            for one in unsubscribe.filters
        ]
        unsuback = self._protocol.machine.unsubscribed(Unsuback(unsubscribe.packet_id, reasons))

        def answer() -> None:
            self._send(unsuback)

        if self._service.save(session):
            self._broker.after_commit(answer, with_messages=False)
        else:
            answer()

    def _send(self, packet: bytes) -> bool:
        """Answer, unless the connection is over; an answer that is too large for the client ends it [MQTT-3.1.2-24]."""
        if self._protocol.is_over:
            return False
        if not packet:
            self._protocol.fail(MqttError(r.PACKET_TOO_LARGE, "the answer is larger than the client takes"))
            return False
        self._protocol.write(packet)
        return True


def _why(subscriptions: list[Subscription], reasons: list[int]) -> str:
    """The reason string of a SUBACK: what was refused and why; of many the first."""
    refused = [
        f"'{subscription.filter[:64]}': {r.reason_name(reason)}"
        for subscription, reason in zip(subscriptions, reasons, strict=True)
        if reason >= 0x80
    ]
    return f"{refused[0]}{f' and {len(refused) - 1} more' if len(refused) > 1 else ''}" if refused else ""
