"""Which sessions are in which shared subscription, and the queues behind them."""

from typing import TYPE_CHECKING, final

from edge.broker import Broker
from edge.core.errors import BrokerError
from edge.core.vhost import VHost
from mqtt.constants import TOPIC_EXCHANGE
from mqtt.filters import WireCache, routing_key_of, split_share
from mqtt.packets import Subscription
from mqtt.session import Session
from mqtt.shared import FILTER_ARGUMENT, SharedLink, SharedQueue, shared_queue_name

if TYPE_CHECKING:
    from mqtt.server import MqttServerProtocol


@final
class Shares:
    """Membership by queue; a queue without members is deleted."""

    def __init__(self, broker: Broker, cache: WireCache) -> None:
        self._broker = broker
        self._cache = cache
        self._members: dict[tuple[str, str], set[Session]] = {}
        self._links: dict[Session, dict[str, SharedLink]] = {}
        broker.queue_kinds[SharedQueue.kind] = SharedQueue

    def recover(self, sessions: list[Session]) -> None:
        """Note the members that were stored, and delete queues that have none: theirs ended with the node."""
        for session in sessions:
            for topic_filter in _shared_filters(session):
                name = _queue_name(topic_filter)
                self._members.setdefault((session.vhost, name), set()).add(session)
        for vhost in self._broker.vhosts.values():
            for queue in list(vhost.queues.values()):
                if isinstance(queue, SharedQueue) and (vhost.name, queue.name) not in self._members:
                    self._broker.delete_queue(vhost, queue)

    def join(self, protocol: "MqttServerProtocol", session: Session, subscription: Subscription) -> bool:
        """Subscribe; True if the filter is new to the session. Raises BrokerError if the queue cannot be had."""
        vhost = self._broker.vhosts[session.vhost]
        queue = self._queue(vhost, subscription.filter)
        is_new = subscription.filter not in session.subscriptions
        session.subscriptions[subscription.filter] = subscription
        self._members.setdefault((vhost.name, queue.name), set()).add(session)
        self._cancel(session, subscription.filter)
        self._consume(protocol, session, subscription, queue)
        return is_new

    def leave(self, session: Session, topic_filter: str) -> None:
        """Unsubscribe; what is in flight may still be acknowledged."""
        session.subscriptions.pop(topic_filter, None)
        self._cancel(session, topic_filter)
        name = _queue_name(topic_filter)
        members = self._members.get((session.vhost, name), set())
        members.discard(session)
        if not members:
            self._members.pop((session.vhost, name), None)
            vhost = self._broker.vhosts[session.vhost]
            queue = vhost.queues.get(name)
            if isinstance(queue, SharedQueue):
                self._broker.delete_queue(vhost, queue)

    def restore(self, session: Session) -> None:
        """Make the queues of a resumed session again, should they be gone. Raises BrokerError."""
        vhost = self._broker.vhosts[session.vhost]
        for topic_filter in _shared_filters(session):
            self._queue(vhost, topic_filter)

    def start(self, protocol: "MqttServerProtocol", session: Session) -> None:
        """The session is connected: take part again."""
        vhost = self._broker.vhosts[session.vhost]
        for topic_filter in _shared_filters(session):
            subscription = session.subscriptions[topic_filter]
            self._consume(protocol, session, subscription, self._queue(vhost, topic_filter))

    def stop(self, session: Session, is_over: bool) -> None:
        """The connection is gone: take no part until it is back; leave for good if the session is over."""
        for link in self._links.pop(session, {}).values():
            self._broker.cancel(link)
        session.inflight.take_back_shared(is_over)
        if is_over:
            for topic_filter in _shared_filters(session):
                self.leave(session, topic_filter)

    def wake(self, session: Session) -> None:
        """The session can take more."""
        for link in self._links.get(session, {}).values():
            link.queue.wake()

    def _queue(self, vhost: VHost, shared_filter: str) -> SharedQueue:
        _share, topic_filter = split_share(shared_filter)
        name = _queue_name(shared_filter)
        arguments: dict[str, object] = {FILTER_ARGUMENT: topic_filter}
        queue = self._broker.declare_queue(vhost, name, arguments=arguments, kind=SharedQueue.kind)
        if not isinstance(queue, SharedQueue):
            raise BrokerError(f"queue '{name}' in vhost '{vhost.name}' is no shared subscription's")
        self._broker.bind(vhost, TOPIC_EXCHANGE, name, routing_key_of(topic_filter))
        return queue

    def _consume(
        self, protocol: "MqttServerProtocol", session: Session, subscription: Subscription, queue: SharedQueue
    ) -> None:
        machine = protocol.machine
        link = SharedLink(session, subscription, queue, protocol, machine, self._cache, self._broker.clock)
        self._links.setdefault(session, {})[subscription.filter] = link
        link.send_again()
        self._broker.consume(link)

    def _cancel(self, session: Session, topic_filter: str) -> None:
        link = self._links.get(session, {}).pop(topic_filter, None)
        if link is not None:
            self._broker.cancel(link)


def _shared_filters(session: Session) -> list[str]:
    return [topic_filter for topic_filter in session.subscriptions if split_share(topic_filter)[0]]


def _queue_name(shared_filter: str) -> str:
    return shared_queue_name(*split_share(shared_filter))
