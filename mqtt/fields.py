"""The data representations of MQTT section 1.5: integers, UTF-8 strings, binary data, variable byte integers.

Readers take `(data, pos, end)` and return `(value, next position)`; a field that does not fit before
`end` is a malformed packet, because the caller has the whole packet already.
"""

from mqtt.constants import REMAINING_LENGTH_MAX
from mqtt.reasons import MALFORMED_PACKET, PeerError


def short_packet(what: str) -> PeerError:
    """The error for a packet whose remaining length ends inside `what`."""
    return PeerError(MALFORMED_PACKET, f"packet ends inside {what}")


def read_u16(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """A two byte integer, big endian."""
    if pos + 2 > end:
        raise short_packet("a two byte integer")
    return data[pos] << 8 | data[pos + 1], pos + 2


def read_u32(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """A four byte integer, big endian."""
    if pos + 4 > end:
        raise short_packet("a four byte integer")
    return data[pos] << 24 | data[pos + 1] << 16 | data[pos + 2] << 8 | data[pos + 3], pos + 4


def read_varint(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """A variable byte integer of at most four bytes, in its shortest form [MQTT-1.5.5-1]."""
    value = 0
    shift = 0
    while pos < end:
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                raise PeerError(MALFORMED_PACKET, "variable byte integer is not in its shortest form")
            return value, pos
        shift += 7
        if shift > 21:
            raise PeerError(MALFORMED_PACKET, "variable byte integer is longer than four bytes")
    raise short_packet("a variable byte integer")


def read_binary(data: bytes, pos: int, end: int) -> tuple[bytes, int]:
    """Binary data with its two byte length."""
    length, pos = read_u16(data, pos, end)
    stop = pos + length
    if stop > end:
        raise short_packet("binary data")
    return data[pos:stop], stop


def read_utf8(data: bytes, pos: int, end: int) -> tuple[str, int]:
    """A UTF-8 string: no surrogates [MQTT-1.5.4-1], no U+0000 [MQTT-1.5.4-2]; U+FEFF stays [MQTT-1.5.4-3]."""
    raw, pos = read_binary(data, pos, end)
    return decode_utf8(raw), pos


def decode_utf8(raw: bytes) -> str:
    """The text of a UTF-8 field's bytes, checked as `read_utf8` says."""
    if 0 in raw:
        raise PeerError(MALFORMED_PACKET, "string contains U+0000")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PeerError(MALFORMED_PACKET, f"string is not UTF-8: {error.reason}") from error


def u16(value: int) -> bytes:
    """A two byte integer, big endian."""
    return value.to_bytes(2, "big")


def varint(value: int) -> bytes:
    """A variable byte integer in its shortest form; ValueError above four bytes' worth."""
    if value < 0x80:
        return bytes((value,))
    if value > REMAINING_LENGTH_MAX:
        raise ValueError(f"{value} does not fit a variable byte integer")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def binary(value: bytes) -> bytes:
    """Binary data with its two byte length; ValueError above 65,535 bytes."""
    if len(value) > 0xFFFF:
        raise ValueError("field is longer than 65,535 bytes")
    return len(value).to_bytes(2, "big") + value


def utf8(value: str) -> bytes:
    """A UTF-8 string with its two byte length; ValueError above 65,535 bytes."""
    return binary(value.encode("utf-8"))
