"""How soon what a queue holds is on the disk: its durability class (a key of Leveret's own).

All three are written; they differ in how long a commit is waited for, and in whether a confirm waits for it.
"""

from typing import TYPE_CHECKING, Final

from edge.core.policy import setting

if TYPE_CHECKING:
    from edge.core.queue_base import QueueBase

DURABLE: Final = "durable"
"""At once, and a confirm leaves after the commit."""
LAZY: Final = "lazy"
"""Within ``[store] lazy_delay_ms``, or with what others commit; a confirm leaves after that commit."""
VOLATILE: Final = "volatile"
"""Now and then; a confirm leaves at once, and a crash may take the newest messages away."""
CLASSES: Final = (DURABLE, LAZY, VOLATILE)


def durability_of(queue: "QueueBase") -> str:
    """What argument (``x-durability``) or policy says; the argument goes before the policy."""
    value = setting(queue, "durability")
    return value if isinstance(value, str) and value in CLASSES else DURABLE
