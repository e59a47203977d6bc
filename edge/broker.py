"""The broker's face: all that protocols, shovels, federation and management call.

Every call completes at once. What must be on disk before a peer is told registers with ``after_commit``.
"""

import asyncio
import logging
import sqlite3
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from edge.auth.topics import KIND_TOPIC_PERMISSION, TopicPermission
from edge.auth.users import KIND_PERMISSION, KIND_USER, Auth, Permission, User
from edge.backpressure import BackPressure
from edge.clock import Clock, SavedClock
from edge.core.consumer import Consumer, Entry
from edge.core.deadletter import dead_letter_target
from edge.core.errors import NotFound
from edge.core.exchange import Exchange
from edge.core.limits import EXPIRED, MAXLEN
from edge.core.message import Message
from edge.core.names import DEFAULT_VHOST
from edge.core.policy import Policy
from edge.core.queue import Queue
from edge.core.vhost import PublishResult, Routed, VHost
from edge.dead_room import DeadRoom
from edge.deadletters import DeadLetters
from edge.deadlines import Deadlines
from edge.parameters import Parameters
from edge.policies import Policies
from edge.stats import Stats
from edge.store.store import Store, encode
from edge.topology import Topology

logger = logging.getLogger("edge.broker")

KIND_NODE: Final = "node"
UNUSED: Final = "unused"
PAGE_RETRY_S: Final = 1.0
"""Until a page that could not be read is tried again; its messages stay where they are."""


class ConnectionInfo(Protocol):
    """What the registry of connections asks of one."""

    def details(self) -> dict[str, Any]:
        """A row of ``GET /api/connections``."""
        ...

    def shut_down(self, reason: str) -> None:
        """Close by the protocol's own means (AMQP 320, MQTT 0x8B): the node stops or an operator asked."""
        ...


class Broker(Topology):
    """One node's queues and exchanges, and the store behind them."""

    def __init__(self, name: str, store: Store, clock: Clock, auth: Auth) -> None:
        super().__init__(store)
        self.name = name
        self.node_id = ""
        self.clock = clock
        self.auth = auth
        auth.on_rehashed = self.put_user
        self.stats = Stats()
        self.back_pressure = BackPressure(store)
        self.policies = Policies(store)
        self.parameters = Parameters(store)
        self._dead_letters = DeadLetters(self.vhosts, clock)
        self.connections: dict[str, ConnectionInfo] = {}
        #: Name of a listing of the HTTP API -> what it shows: "shovels", "federation-links".
        self.status_sources: dict[str, Callable[[], list[dict[str, Any]]]] = {}
        self._ready: dict[Queue, None] = {}
        self._loop = asyncio.get_running_loop()
        self._page_ins: dict[Queue, asyncio.Task[None]] = {}
        #: By queue when its first message expires, by (queue, UNUSED) when it does so itself.
        self.deadlines = Deadlines(clock.elapsed_ms)
        self.dead_room = DeadRoom(store, self.schedule_dispatch)
        self._is_recovered = False
        self._is_closing = False

    async def recover(self, *, with_defaults: bool = True) -> bool:
        """Bring back what the store holds; return whether it is a new one, without vhosts.

        A new store gets vhost ``/`` and user guest, unless definitions will bring its vhosts and users (RabbitMQ).
        """
        saved = await self.store.records(KIND_NODE)
        self.node_id = saved["id"].decode() if "id" in saved else uuid.uuid4().hex
        self.store.put(KIND_NODE, "id", self.node_id.encode())
        self.clock.restore(
            msgspec.msgpack.decode(saved["clock"], type=SavedClock) if "clock" in saved else None
        )
        await self.recover_topology()
        await self.policies.recover()
        await self.parameters.recover()
        self.apply_policies()
        for value in (await self.store.records(KIND_USER)).values():
            user = msgspec.json.decode(value, type=User)
            self.auth.users[user.name] = user
        for value in (await self.store.records(KIND_PERMISSION)).values():
            self.auth.set_permission(msgspec.json.decode(value, type=Permission))
        for value in (await self.store.records(KIND_TOPIC_PERMISSION)).values():
            self.auth.topics.set(msgspec.json.decode(value, type=TopicPermission))
        # From here on nothing is awaited before the commit: a node killed now is found new again, or complete.
        is_new = not self.vhosts or (self.store.was_rolled_back and not self.auth.users)
        if is_new and with_defaults:
            self.add_vhost(DEFAULT_VHOST)
            self.set_user("guest", "guest", ["administrator"])
            self.set_permission(Permission("guest", DEFAULT_VHOST, ".*", ".*", ".*"))
        self.store.note_running()
        self.save_clock()
        self._is_recovered = True
        await self.store.committed()
        return is_new

    def resume(self) -> None:
        """Go on with what no client asks for; all protocols must have recovered what they keep of their queues.

        Messages that wait in a queue to be dead-lettered when they expire are awaited elsewhere, though nobody may
        ever consume from that queue.
        """
        for vhost in self.vhosts.values():
            for queue in vhost.queues.values():
                if queue.messages and dead_letter_target(queue) is not None:
                    self.schedule_dispatch(queue)
                # RabbitMQ's leases, too, begin anew with the server.
                queue.touch()

    def save_clock(self) -> None:
        """Note elapsed time with the next commit, for the next start."""
        self.store.put(KIND_NODE, "clock", encode(self.clock.save()))

    async def close(self) -> None:
        """Let page reads end and note the clean stop; the store is closed by its owner.

        Nothing may be delivered any more: it would come again without the redelivered flag.
        """
        self._is_closing = True
        self.deadlines.close()
        self.dead_room.close()
        for task in list(self._page_ins.values()):
            task.cancel()
        await asyncio.gather(*self._page_ins.values(), return_exceptions=True)
        if self._is_recovered:
            for vhost in self.vhosts.values():
                for queue in vhost.queues.values():
                    queue.note_delivered()
            self.store.note_clean_stop()

    # -- publishing ------------------------------------------------------------------------------------------------

    def publish(
        self, vhost: VHost, exchange: str, messages: list[Message], publisher: object = None
    ) -> PublishResult:
        """Route and enqueue a run of messages, in order.

        Raises NotFound and AccessRefused (internal exchange) before anything is enqueued.
        """
        dead_letters = self._dead_letters
        dead_letters.is_held = True
        try:
            result = vhost.publish(exchange, messages, publisher)
        finally:
            dead_letters.is_held = False
        if dead_letters:
            dead_letters.publish()
        self.stats.publish += len(messages)
        return result

    def forward(self, vhost: VHost, exchange: str, messages: list[Message]) -> PublishResult:
        """Publish what a shovel or a federation link brings: as ``publish``, with CC and BCC heeded."""
        result = vhost.forward(exchange, messages)
        self.stats.publish += len(messages)
        return result

    def deliver_routed(self, vhost: VHost, routed: list[Routed], publisher: object = None) -> PublishResult:
        """Enqueue what ``vhost.routed`` has routed: publishes of a transaction, and those with CC or BCC."""
        dead_letters = self._dead_letters
        dead_letters.is_held = True
        try:
            result = vhost.deliver_routed(routed, publisher)
        finally:
            dead_letters.is_held = False
        if dead_letters:
            dead_letters.publish()
        self.stats.publish += len(routed)
        return result

    def after_commit(self, callback: Callable[[], None], *, with_messages: bool = True) -> None:
        """Call back when everything accepted so far is on disk: one a run of messages or declaration.

        Without ``with_messages`` it does not wait for messages, should a full disk keep those back.
        """
        self.store.after_commit(callback, with_messages=with_messages)

    @property
    def congested(self) -> bool:
        """Whether publishers should not be read for now."""
        return self.back_pressure.is_on

    def when_relieved(self, callback: Callable[[], None]) -> None:
        """Call back once when the node is no longer congested."""
        self.back_pressure.when_off(callback)

    @property
    def is_full(self) -> bool:
        """Whether nothing may be published for want of room on the disk; who has seen it asks ``when_roomy``."""
        return self.store.space.is_low

    def when_roomy(self, who: object, callback: Callable[[], None]) -> None:
        """Call back once when there is room again; until ``who`` is gone, which says so by ``forget_waiting``."""
        self.store.space.when_roomy(who, callback)

    def forget_waiting(self, who: object) -> None:
        """Who may wait for room is gone."""
        self.store.space.forget(who)

    # -- consuming -------------------------------------------------------------------------------------------------

    def consume(self, consumer: Consumer) -> None:
        """Start deliveries. Raises AccessRefused when the queue is in exclusive use."""
        consumer.queue.add_consumer(consumer)

    def cancel(self, consumer: Consumer) -> None:
        """Stop deliveries; an auto-delete queue goes with its last consumer."""
        queue = consumer.queue
        queue.remove_consumer(consumer)
        if queue.auto_delete and not queue.consumer_count and not queue.deleted:
            self.remove_queue(queue)

    # -- topology --------------------------------------------------------------------------------------------------

    def add_queue(self, vhost: VHost, queue: Queue) -> None:
        super().add_queue(vhost, queue)
        queue.apply_policy(self.policies.definition_for(queue))
        queue.touch()

    def add_exchange(self, vhost: VHost, exchange: Exchange) -> None:
        exchange.policy = self.policies.definition_for(exchange)
        super().add_exchange(vhost, exchange)

    def remove_queue(self, queue: Queue) -> None:
        consumers = list(queue.consumers)
        super().remove_queue(queue)
        self.deadlines.cancel(queue)
        self.deadlines.cancel((queue, UNUSED))
        for consumer in consumers:
            queue.remove_consumer(consumer)
            consumer.cancelled()

    # -- policies --------------------------------------------------------------------------------------------------

    def set_policy(self, *policies: Policy, stored: bool = True) -> None:
        """Make or change policies and operator policies, and let what they match go by them at once.

        Those of the configuration are not ``stored``. Raises NotFound for an unknown vhost, ConfigError for a
        definition that RabbitMQ would refuse; then none after it is made.
        """
        try:
            for policy in policies:
                self.vhost(policy.vhost)
                self.policies.put(policy, stored=stored)
        finally:
            self.apply_policies()

    def delete_policy(self, vhost: str, name: str, *, operator: bool = False) -> None:
        """Raises NotFound."""
        if not self.policies.remove(vhost, name, operator=operator):
            raise NotFound(f"no policy '{name}' in vhost '{vhost}'")
        self.apply_policies()

    def apply_policies(self) -> None:
        """Policies have changed: let all queues and exchanges go by them."""
        for vhost in self.vhosts.values():
            for queue in vhost.queues.values():
                queue.apply_policy(self.policies.definition_for(queue))
            for exchange in vhost.exchanges.values():
                exchange.policy = self.policies.definition_for(exchange)
            vhost.forget_routes()
        self.tell("policies.changed", None)

    def policy_for(self, entity: Queue | Exchange) -> Policy | None:
        """The policy in force for a queue or an exchange."""
        return self.policies.of(entity)

    # -- users -----------------------------------------------------------------------------------------------------

    def set_user(self, name: str, password: str, tags: list[str]) -> None:
        """Make or change a user."""
        self.put_user(self.auth.set_user(name, password, tags))

    def put_user(self, user: User) -> None:
        """Make or change a user whose password is hashed already."""
        self.auth.users[user.name] = user
        self.store.put(KIND_USER, user.name, msgspec.json.encode(user))

    def set_permission(self, permission: Permission) -> None:
        """Grant; raises NotFound for an unknown user or vhost, re.error for a pattern that is none."""
        if permission.user not in self.auth.users:
            raise NotFound(f"user '{permission.user}' not found")
        self.vhost(permission.vhost)
        self.auth.set_permission(permission)
        self.store.put(
            KIND_PERMISSION, f"{permission.user}\0{permission.vhost}", msgspec.json.encode(permission)
        )

    def set_topic_permission(self, permission: TopicPermission) -> None:
        """Allow only some keys of a topic exchange; raises as ``set_permission`` does."""
        if permission.user not in self.auth.users:
            raise NotFound(f"user '{permission.user}' not found")
        self.vhost(permission.vhost)
        self.auth.topics.set(permission)
        self.store.put(KIND_TOPIC_PERMISSION, _topic_key(permission), msgspec.json.encode(permission))

    def clear_topic_permissions(
        self, user: str, vhost: str | None = None, exchange: str | None = None
    ) -> None:
        """Take back a user's topic permissions: of one exchange or all, in one vhost or all."""
        for permission in self.auth.topics.remove(user, vhost, exchange):
            self.store.put(KIND_TOPIC_PERMISSION, _topic_key(permission), None)

    # -- what queues ask (QueueHost) ---------------------------------------------------------------------------------

    def schedule_dispatch(self, queue: Queue) -> None:
        if not self._ready:
            self._loop.call_soon(self._dispatch)
        self._ready[queue] = None

    def _dispatch(self) -> None:
        ready, self._ready = self._ready, {}
        if self._is_closing:
            return
        queues = iter(ready)
        try:
            for queue in queues:
                queue.dispatch()
        finally:
            # Some are left only when a consumer has raised: its fault, not theirs.
            for queue in queues:
                self.schedule_dispatch(queue)

    def schedule_commit(self, queue: Queue, size: int = 0) -> None:
        self.store.queue_changed(queue, size)

    def schedule_page_in(self, queue: Queue) -> None:
        if queue not in self._page_ins and not self._is_closing and queue.needs_disk():
            task = self._loop.create_task(self._read_page(queue), name=f"page in {queue.name}")
            self._page_ins[queue] = task
            task.add_done_callback(lambda task: self._paged_in(queue, task))

    async def _read_page(self, queue: Queue) -> None:
        while not queue.deleted:
            try:
                await self.store.page_in(queue)
            except (sqlite3.Error, OSError, msgspec.DecodeError) as error:
                logger.error(
                    "queue '%s' in vhost '%s': page not read, trying again: %s",
                    queue.name,
                    queue.vhost,
                    error,
                )
                await asyncio.sleep(PAGE_RETRY_S)
            else:
                return

    def _paged_in(self, queue: Queue, task: asyncio.Task[None]) -> None:
        del self._page_ins[queue]
        if not task.cancelled():
            task.result()
            self.schedule_dispatch(queue)

    async def page_in(self, queue: Queue) -> None:
        """Wait until the head of a queue is in RAM, for basic.get; as long as the disk cannot be read."""
        part = queue.head()
        self.schedule_page_in(part)
        task = self._page_ins.get(part)
        if task is not None:
            await asyncio.wait([task])

    def schedule_expiry(self, queue: Queue, at_ms: int) -> None:
        due_ms = self.deadlines.at_ms(queue)
        if (due_ms is None or at_ms < due_ms) and not self._is_closing:
            self.deadlines.set(queue, at_ms, partial(self.schedule_dispatch, queue))

    def schedule_unused(self, queue: Queue, at_ms: int) -> None:
        if not self._is_closing:
            self.deadlines.set((queue, UNUSED), at_ms, partial(self._drop_unused, queue))

    def _drop_unused(self, queue: Queue) -> None:
        """Delete a queue whose ``x-expires`` has passed (RabbitMQ, "Queue TTL"); its messages are not dead-lettered."""
        if queue.deleted or queue.consumer_count or queue.expires_ms is None:
            return
        at_ms = queue.used_at_ms + queue.expires_ms
        if at_ms > self.clock.elapsed_ms():
            self.schedule_unused(queue, at_ms)
            return
        logger.info(
            "queue '%s' in vhost '%s' was unused for %d ms: deleted",
            queue.name,
            queue.vhost,
            queue.expires_ms,
        )
        self.remove_queue(queue)

    def may_dead_letter(self, queue: Queue, entries: Iterable[Entry], count: int) -> int:
        return self.dead_room.admit(queue, entries, count)

    def dead_letter(self, queue: Queue, entries: list[Entry], reason: str) -> None:
        self._dead_letters.add(queue, entries, reason)
        if reason not in (EXPIRED, MAXLEN):
            self.dead_room.refused(queue)

    def messages_lost(self, queue: Queue, ranges: list[tuple[int, int]]) -> None:
        self.store.messages_lost(queue, ranges, self.clock.unix_ms())

    def elapsed_ms(self) -> int:
        return self.clock.elapsed_ms()


def _topic_key(permission: TopicPermission) -> str:
    return f"{permission.user}\0{permission.vhost}\0{permission.exchange}"
