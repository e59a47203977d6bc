"""Every error of the broker, neutral of protocol.

A protocol maps a class to its own reply or reason code; the text is what the peer and the log see, in RabbitMQ's
wording where RabbitMQ has one.
"""


class EdgeError(Exception):
    """Root of all errors that a person or a peer may see; ``text`` says what, where and what to do."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class StartupError(EdgeError):
    """The node cannot start (port taken, data directory in use, newer store): exit code 1."""


class ConfigError(EdgeError):
    """The configuration is wrong; names file, key and the closest known key: exit code 2."""


class StoreError(EdgeError):
    """The store cannot be opened or read."""


class AuthenticationFailed(EdgeError):
    """User name or password is wrong, or the user may not come from where it comes."""


class BrokerError(EdgeError):
    """Root of what a client's operation can be refused with; ends at most its channel."""


class NotFound(BrokerError):
    """No such exchange, queue or vhost (AMQP 404)."""


class PreconditionFailed(BrokerError):
    """Inequivalent declaration, queue in use or not empty, bad argument (AMQP 406)."""


class AccessRefused(BrokerError):
    """No permission, a reserved name, or in exclusive use (AMQP 403)."""


class ResourceLocked(BrokerError):
    """The queue is exclusive to another connection (AMQP 405)."""


class NotAllowed(BrokerError):
    """Against the rules of the vhost or connection (AMQP 530)."""
