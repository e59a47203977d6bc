"""Values of field tables that Python has no type for: numbers of a certain width, timestamps, decimals.

They equal plain numbers of the same value, so that a redeclaration by a client that picks other widths is equivalent,
as it is in RabbitMQ. Apart from ``table`` because subclasses of int cannot be compiled.
"""

from typing import final


class Int8(int):
    """Type ``b``."""

    __slots__ = ()


class UInt8(int):
    """Type ``B``."""

    __slots__ = ()


class Int16(int):
    """Type ``s``."""

    __slots__ = ()


class UInt16(int):
    """Type ``u``."""

    __slots__ = ()


class Int32(int):
    """Type ``I``."""

    __slots__ = ()


class UInt32(int):
    """Type ``i``."""

    __slots__ = ()


class Timestamp(int):
    """Type ``T``: seconds since 1970."""

    __slots__ = ()


class Float32(float):
    """Type ``f``."""

    __slots__ = ()


@final
class Decimal:
    """Type ``D``: ``unscaled`` divided by ten to the power of ``scale``."""

    __slots__ = ("scale", "unscaled")

    def __init__(self, scale: int, unscaled: int) -> None:
        self.scale = scale
        self.unscaled = unscaled

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Decimal) and (self.scale, self.unscaled) == (other.scale, other.unscaled)

    def __hash__(self) -> int:
        return hash((self.scale, self.unscaled))

    def __repr__(self) -> str:
        return f"Decimal({self.scale}, {self.unscaled})"

    def __str__(self) -> str:
        if not self.scale:
            return str(self.unscaled)
        digits = str(self.unscaled).rjust(self.scale + 1, "0")
        return f"{digits[: -self.scale]}.{digits[-self.scale :]}"
