"""The `$SYS` topics: what a node tells of itself to those who subscribe, by Mosquitto's names where it has one.

They pass by queues and exchanges: a subscriber gets all that match when it subscribes, as retained messages, and what
has changed at each interval, at QoS 0. Without a subscriber there is no timer. Of queues and links a client sees those
of its vhost.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, final
from urllib.parse import quote

from edge import __version__
from edge.core.message import FORM_MQTT, RETAIN, Message
from edge.core.topic import TopicTrie
from mqtt.constants import TOPIC_EXCHANGE
from mqtt.filters import routing_key_of
from mqtt.session import FROM_RETAINED, Session

if TYPE_CHECKING:
    from mqtt.service import MqttService

SYS_PREFIX: Final = "$SYS/"
QUEUES_MAX: Final = 1_000
"""Queues of a vhost that are shown, those with the most messages: a fleet's sessions would take seconds to tell."""
LINKS: Final = {"shovels": "shovels", "federation-links": "federation"}
"""Listing of the broker -> level of the topic."""


def is_sys(topic_filter: str) -> bool:
    """Whether a filter asks for topics of the node."""
    return topic_filter.startswith(SYS_PREFIX)


class Traffic:
    """What connections that are over have carried."""

    __slots__ = ("bytes_received", "bytes_sent", "messages_received", "messages_sent")

    def __init__(self) -> None:
        self.messages_received = 0
        self.messages_sent = 0
        self.bytes_received = 0
        self.bytes_sent = 0


@final
class SysTopics:
    """Tells the node's figures to the sessions that watch."""

    def __init__(self, service: "MqttService", interval_s: int) -> None:
        self._service = service
        self._broker = service.broker
        self._interval_s = interval_s
        self._started_s = time.monotonic()
        #: Who watches, and what each was told last.
        self._watchers: dict[Session, dict[str, str]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._watchers)

    def look_at(self, session: Session) -> None:
        """A session's connection or its subscriptions have changed."""
        watches = session.link is not None and any(is_sys(one) for one in session.subscriptions)
        if not watches:
            self._watchers.pop(session, None)
        elif self._interval_s and session not in self._watchers:
            self._watchers[session] = {}
        if self._watchers and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._tick)

    def stop(self) -> None:
        """The node stops."""
        if self._timer is not None:
            self._timer.cancel()
        self._watchers.clear()

    def _tick(self) -> None:
        self._timer = None
        for session in list(self._watchers):
            self._tell_changes(session)
        if self._watchers:
            self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._tick)

    def tell(self, session: Session, topic_filter: str) -> None:
        """Tell a new subscription everything that matches, as if it were retained."""
        self.look_at(session)
        told = self._watchers.get(session)
        if told is not None:
            matching = dict(self._matching(session.vhost, [topic_filter]))
            told |= matching
            self._send(session, matching, RETAIN | FROM_RETAINED)

    def _tell_changes(self, session: Session) -> None:
        told = self._watchers[session]
        now = dict(self._matching(session.vhost, [one for one in session.subscriptions if is_sys(one)]))
        self._watchers[session] = now
        self._send(session, {topic: value for topic, value in now.items() if told.get(topic) != value}, 0)

    def _send(self, session: Session, values: dict[str, str], flags: int) -> None:
        link = session.link
        if link is None or not values:
            return
        now_ms = self._broker.elapsed_ms()
        messages = [
            Message(TOPIC_EXCHANGE, routing_key_of(topic), b"", value.encode(), FORM_MQTT, flags, now_ms)
            for topic, value in values.items()
        ]
        link.deliver_now(messages, False)

    def _matching(self, vhost: str, filters: list[str]) -> Iterator[tuple[str, str]]:
        trie: TopicTrie[str] = TopicTrie()
        for topic_filter in filters:
            trie.add(routing_key_of(topic_filter), topic_filter)
        for topic, value in self.values(vhost):
            if trie.match(routing_key_of(topic)):
                yield topic, str(value)

    # -- figures ---------------------------------------------------------------------------------------------------

    def values(self, vhost: str) -> Iterator[tuple[str, object]]:
        """Topics and values as a client of the vhost may see them."""
        for name, value in (*self._node(), *self._clients(), *self._store(), *self._queues(vhost)):
            yield f"{SYS_PREFIX}broker/{name}", value
        for name, value in self._links(vhost):
            yield f"{SYS_PREFIX}broker/{name}", value

    def _node(self) -> Iterator[tuple[str, object]]:
        yield "version", f"leveret version {__version__}"
        yield "uptime", f"{time.monotonic() - self._started_s:.0f} seconds"
        yield "name", self._broker.name

    def _clients(self) -> Iterator[tuple[str, object]]:
        service = self._service
        sessions = service.sessions.values()
        connected = len(service.connected)
        yield "clients/connected", connected
        yield "clients/disconnected", len(sessions) - connected
        yield "clients/total", len(sessions)
        yield "subscriptions/count", sum([len(session.subscriptions) for session in sessions])
        gone = service.traffic
        links = [session.link for session in service.connected if session.link is not None]
        protocols = service.connected.values()
        yield "messages/received", gone.messages_received
        yield "messages/sent", gone.messages_sent + sum([link.delivered for link in links])
        yield "bytes/received", gone.bytes_received + sum([one.bytes_received for one in protocols])
        yield "bytes/sent", gone.bytes_sent + sum([one.bytes_sent for one in protocols])

    def _store(self) -> Iterator[tuple[str, object]]:
        queues = [queue for vhost in self._broker.vhosts.values() for queue in vhost.queues.values()]
        yield "store/messages/count", sum([queue.messages for queue in queues])
        yield "store/messages/bytes", sum([queue.message_bytes for queue in queues])
        yield "store/messages/lost", self._broker.store.losses.messages
        wear = self._broker.store.wear.details()
        yield "store/commits", wear["commits"]
        yield "store/bytes_written", wear["bytes_written"]

    def _queues(self, vhost_name: str) -> Iterator[tuple[str, object]]:
        retained = self._service.retained(vhost_name)
        yield "retained messages/count", retained.messages
        yield "retained messages/bytes", retained.message_bytes
        vhost = self._broker.vhosts.get(vhost_name)
        queues = [] if vhost is None else list(vhost.queues.values())
        if len(queues) > QUEUES_MAX:
            queues = sorted(queues, key=lambda queue: queue.messages, reverse=True)[:QUEUES_MAX]
        for queue in queues:
            yield f"queues/{_level(queue.name)}/messages", queue.messages
            yield f"queues/{_level(queue.name)}/bytes", queue.message_bytes

    def _links(self, vhost: str) -> Iterator[tuple[str, object]]:
        for source, level in LINKS.items():
            rows = self._broker.status_sources.get(source)
            for row in rows() if rows is not None else ():
                if row.get("vhost") != vhost:
                    continue
                name = _level(str(row.get("name") or row.get("upstream")))
                if source != "shovels":
                    name = f"{name}/{_level(str(row.get('exchange') or row.get('queue')))}"
                yield (
                    f"{level}/{name}/state",
                    row.get("blocked_status") or row.get("state") or row.get("status"),
                )
                if "lag" in row:
                    yield f"{level}/{name}/backlog", row["lag"]


def _level(name: str) -> str:
    """A name as one level of a topic, as the HTTP API has it in its paths."""
    return quote(name, safe=" ")
