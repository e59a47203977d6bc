"""Counters of the node, by the names of RabbitMQ's ``message_stats``."""


class Stats:
    """Totals since start; a run of messages adds once."""

    __slots__ = (
        "ack",
        "confirm",
        "deliver",
        "deliver_no_ack",
        "get",
        "publish",
        "redeliver",
        "return_unroutable",
    )

    def __init__(self) -> None:
        self.publish = 0
        self.confirm = 0
        self.deliver = 0
        self.deliver_no_ack = 0
        self.get = 0
        self.ack = 0
        self.redeliver = 0
        self.return_unroutable = 0
