"""Leveret's node: protocol-neutral core, store, AMQP, management and commands."""

__version__ = "0.1.0"
