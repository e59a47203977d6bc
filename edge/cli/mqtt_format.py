"""How ``leveret subscribe`` prints a message: mosquitto_sub's templates and its JSON."""

import json
import re
import time
from datetime import datetime
from typing import Any, Final

import aiomqtt
import click

ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "a": "\a", "e": "\x1b", "v": "\v", "\\": "\\"}
PART: Final = re.compile(
    r"%(?P<flags>[-0]*)(?P<width>\d*)(?:\.(?P<most>\d+))?(?P<field>.)|@(?P<time>.)|\\(?P<escape>.)", re.DOTALL
)
"""A part of a template: flags, width and maximum width as printf's."""
PROPERTY_OF: Final = {
    "A": "TopicAlias",
    "C": "ContentType",
    "D": "CorrelationData",
    "E": "MessageExpiryInterval",
    "F": "PayloadFormatIndicator",
    "P": "UserProperty",
    "R": "ResponseTopic",
    "S": "SubscriptionIdentifier",
}
FIELDS: Final = frozenset("%tpqrlmxXUIjJ") | PROPERTY_OF.keys()
WITH_WIDTH: Final = frozenset("ACEFIlmpRStxX")
WITH_ZEROS: Final = frozenset("AEFlmSxX")
WITH_MAXIMUM: Final = frozenset("CIRt")
"""What mosquitto_sub pads and cuts; elsewhere it takes no notice of a width."""


class NotJson(ValueError):
    """A payload for %J, which is to stand in JSON as it is, and is none."""


def json_of(message: aiomqtt.Message, *, parse_payload: bool = False, indent: str | None = None) -> str:
    """mosquitto_sub's object, on a line; what is not UTF-8 shows U+FFFD (%x shows all). Raises NotJson."""
    body = bytes(message.payload)
    row: dict[str, object] = {
        "tst": datetime.now().astimezone().strftime("%Y-%m-%dT%H:%M:%S.%f%z"),
        "topic": str(message.topic),
        "qos": message.qos,
        "retain": int(message.retain),
        "payloadlen": len(body),
    }
    if message.qos:
        row["mid"] = message.mid
    if message.properties is not None and not message.properties.isEmpty():
        row["properties"] = _properties(message.properties)
    text = body.decode(errors="replace")
    try:
        row["payload"] = json.loads(text) if parse_payload else text
    except ValueError as error:
        raise NotJson(f"the payload on topic {message.topic} is not JSON: {error}") from error
    return json.dumps(row, ensure_ascii=False, indent=indent)


def _properties(properties: Any) -> dict[str, object]:
    shown: dict[str, object] = {}
    for name in PROPERTY_OF.values():
        value = getattr(properties, name, None)
        if value is not None:
            key = re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
            if name == "UserProperty":
                key, value = "user-properties", [{pair[0]: pair[1]} for pair in value]
            shown[key] = value.decode(errors="replace") if isinstance(value, bytes) else value
    return shown


class Format:
    """A template of mosquitto_sub's -F. Raises click.UsageError for what it does not know."""

    def __init__(self, template: str, *, pretty: bool = False) -> None:
        self._template = template
        self._indent = "\t" if pretty else None
        for match in PART.finditer(template):
            if match["field"] and match["field"] not in FIELDS:
                known = " ".join(f"%{each}" for each in sorted(FIELDS))
                raise click.UsageError(
                    f"-F does not know {match[0]}; it knows {known}, @ with a letter of strftime"
                )

    def render(self, message: aiomqtt.Message) -> bytes:
        """The template filled in. Raises NotJson for %J."""
        parts, at = [], 0
        for match in PART.finditer(self._template):
            parts.append(self._template[at : match.start()].encode())
            at = match.end()
            if match["field"]:
                parts.append(_fitted(self._field(match["field"], message), match))
            elif match["time"]:
                parts.append(_time(match["time"]).encode())
            else:
                parts.append(ESCAPES.get(match["escape"], match[0]).encode())
        return b"".join([*parts, self._template[at:].encode()])

    def _field(self, name: str, message: aiomqtt.Message) -> bytes:
        body = bytes(message.payload)
        match name:
            case "%":
                text = "%"
            case "p":
                return body
            case "t":
                text = str(message.topic)
            case "x":
                text = body.hex()
            case "X":
                text = body.hex().upper()
            case "U":
                nanoseconds = time.time_ns()
                text = f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09}"
            case "I":
                text = time.strftime("%Y-%m-%dT%H:%M:%S%z")
            case "j" | "J":
                text = json_of(message, parse_payload=name == "J", indent=self._indent)
            case "q" | "r" | "l" | "m":
                numbers = {"q": message.qos, "r": int(message.retain), "l": len(body), "m": message.mid}
                text = str(numbers[name])
            case _:
                return self._property(getattr(message.properties, PROPERTY_OF[name], None))
        return text.encode()

    @staticmethod
    def _property(value: Any) -> bytes:
        if isinstance(value, list):
            value = " ".join([":".join(each) if isinstance(each, tuple) else str(each) for each in value])
        return b"" if value is None else value if isinstance(value, bytes) else str(value).encode()


def _fitted(value: bytes, match: re.Match[str]) -> bytes:
    """Cut to the maximum width, and padded to the width, on the left unless the flag ``-`` says on the right."""
    name = match["field"]
    if name not in WITH_WIDTH:
        return value
    if match["most"] and name in WITH_MAXIMUM:
        value = value[: int(match["most"])]
    width = int(match["width"] or 0)
    if "-" in match["flags"]:
        return value.ljust(width)
    return value.rjust(width, b"0" if "0" in match["flags"] and name in WITH_ZEROS else b" ")


def _time(letter: str) -> str:
    """Of strftime, and mosquitto's N: nanoseconds."""
    if letter == "@":
        return "@"
    return f"{time.time_ns() % 10**9:09}" if letter == "N" else time.strftime(f"%{letter}")
