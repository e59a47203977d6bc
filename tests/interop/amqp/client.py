"""The lines of JSON that drive a client of AMQP; see ``tests.interop.driver``.

A request is ``{"op": "queue_declare", "channel": "c1", ...}``, with all the fields that the operation has. A driver
answers each in turn by ``{"answer": ...}``, or by ``{"error": {"scope", "code", "text"}}`` when the broker refused it
by closing a channel or a connection. In between it says what has come by itself:

- ``{"event": "delivered", "channel", "tag", "delivery", "redelivered", "exchange", "key", "properties", "body"}``
- ``{"event": "returned", "channel", "code", "exchange", "key", "properties", "body"}``
- ``{"event": "cancelled", "channel", "tag"}``: by the broker
- ``{"event": "channel_closed", "channel", "code", "text"}``, and ``connection_closed`` alike: by the broker

Tables are JSON objects. ``{"$type": "timestamp", "value": 1}`` is a type that JSON lacks; a client knows some of them.
Bodies of more than 4 KiB are shown as ``{"size", "sha256"}``.
"""

from tests.interop.driver import Driver, Json, Refused

__all__ = ["Driver", "Json", "Refused"]
