"""What the drivers of the Python clients have in common: the fields of AMQP's tables, and what is common to all."""

import base64
import datetime
import decimal
from collections.abc import Mapping
from typing import Any

from tests.interop.lines import Fault, Json, body_of, requests, send, shown

__all__ = ["PROPERTIES", "Fault", "Json", "body_of", "from_json", "requests", "send", "shown", "to_json"]

PROPERTIES = (
    "content_type",
    "content_encoding",
    "headers",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
)


def from_json(value: Json) -> Any:
    """A field's value as a Python client takes it."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    match value.get("$type"):
        case None:
            return {name: from_json(item) for name, item in value.items()}
        case "bytes":
            return base64.b64decode(value["value"])
        case "decimal":
            return decimal.Decimal(value["value"])
        case "float" | "double":
            return float(value["value"])
        case "timestamp":
            return datetime.datetime.fromtimestamp(value["value"], datetime.UTC)
        case kind:
            raise ValueError(f"Python has no {kind}")


def to_json(value: Any) -> Json:
    """A field's value as a Python client gives it."""
    match value:
        case bytes() | bytearray():
            return {"$type": "bytes", "value": base64.b64encode(value).decode()}
        case decimal.Decimal():
            return {"$type": "decimal", "value": str(value)}
        case datetime.datetime():
            # Some clients give UTC without saying so.
            seconds = value.replace(tzinfo=value.tzinfo or datetime.UTC).timestamp()
            return {"$type": "timestamp", "value": int(seconds)}
        case Mapping():
            return {name: to_json(item) for name, item in value.items()}
        case list():
            return [to_json(item) for item in value]
    return value
