"""What a queue is by its declaration, and what it has: how it goes about it is in ``edge.core.queue``."""

from collections import deque
from typing import ClassVar

from edge.core.consumer import Consumer, Entry
from edge.core.dispatch import Dispatcher, SingleActiveDispatcher
from edge.core.durability import DURABLE, VOLATILE
from edge.core.host import QueueHost
from edge.core.limits import Limits, limits_of
from edge.core.names import CLASSIC, QUORUM
from edge.core.policy import least
from edge.core.settled import Settled


class QueueBase:
    """The definition, the counts and the fields of a queue."""

    #: Tells the store's records which class to build again; "" for this one.
    kind: ClassVar[str] = ""
    #: Whether an exclusive consumer has it for itself.
    heeds_exclusive: ClassVar[bool] = True
    #: What was settled since the last commit must be written together with other queues or records: it was moved.
    settles_with_others = False
    #: Nothing is handed out: what has expired at the head, or is refused, waits for room to be dead-lettered.
    is_held = False
    #: Its class, see ``edge.core.durability``.
    durability = DURABLE

    def __init__(
        self,
        host: QueueHost,
        vhost: str,
        name: str,
        queue_id: int,
        *,
        durable: bool = True,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: dict[str, object] | None = None,
        owner: object | None = None,
    ) -> None:
        # The queue's definition
        self.host = host
        self.vhost = vhost
        self.name = name
        self.id = queue_id
        self.durable = durable
        self.exclusive = exclusive
        self.auto_delete = auto_delete
        self.arguments: dict[str, object] = arguments or {}
        self.owner = owner
        self.deleted = False
        #: What policies say to it.
        self.policy: dict[str, object] = {}
        self.limits: Limits | None = limits_of(self)
        #: Longest that a message stays, from when it came to this queue; None: for ever.
        self.ttl_ms = least(self, "message-ttl")
        #: How long the queue stays while nobody uses it; None: for ever.
        self.expires_ms = least(self, "expires")
        self.used_at_ms = 0
        # Counts, as the HTTP API names them
        self.messages_ready = 0
        self.messages_unacknowledged = 0
        self.message_bytes_ready = 0
        self.message_bytes_unacknowledged = 0
        #: Messages that left the queue unwanted, or never got in, by reason: those lost, and those dead-lettered.
        self.dropped: dict[str, int] = {}
        self.dead_lettered: dict[str, int] = {}
        # Order and place of entries
        self.next_sequence = 0
        self.settled = Settled()
        self.ready: deque[Entry] = deque()
        self.window_bytes = 0
        self.fresh: list[Entry] = []
        self.in_commit: list[Entry] = []
        self.committed_sequence = 0
        self.is_paging = False
        self.page_sequence = 0
        #: All below may have been delivered before the node started.
        self.redelivered_below = 0
        #: All below have been delivered at least once, or dropped.
        self.delivered_sequence = 0
        #: Whether a queue that is not durable has entries on disk for want of room in RAM.
        self.is_spilled = False
        self.settled_changed = False
        self.has_expiring = False
        is_single = self.arguments.get("x-single-active-consumer") is True
        self._dispatcher = SingleActiveDispatcher() if is_single else Dispatcher()

    @property
    def type(self) -> str:
        """CLASSIC or QUORUM, as ``x-queue-type`` says."""
        return QUORUM if self.arguments.get("x-queue-type") == QUORUM else CLASSIC

    @property
    def is_promised(self) -> bool:
        """Whether a confirm waits for the commit."""
        return self.durable and self.durability != VOLATILE

    @property
    def may_wait(self) -> bool:
        """Whether the next commit may come later: not while somebody takes only what is on the disk."""
        return self.durability != DURABLE and not self._dispatcher.has_committed_only

    @property
    def messages(self) -> int:
        """Ready and unacknowledged messages."""
        return self.messages_ready + self.messages_unacknowledged

    @property
    def message_bytes(self) -> int:
        """Bytes of the bodies of ready and unacknowledged messages."""
        return self.message_bytes_ready + self.message_bytes_unacknowledged

    @property
    def consumers(self) -> list[Consumer]:
        return self._dispatcher.consumers

    def is_active(self, consumer: Consumer) -> bool:
        """Whether a consumer gets messages: with a single active consumer others only wait."""
        return self._dispatcher.is_active(consumer)

    @property
    def consumer_count(self) -> int:
        return len(self._dispatcher.consumers)
