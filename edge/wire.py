"""What the binary codecs share: compiled formats of the big-endian integers that every protocol here uses.

Only packing goes through these. Hot parsers read by index or with a format of their own, because a frame's fields are
read together.
"""

from struct import Struct
from typing import Final

U16: Final = Struct(">H")
U32: Final = Struct(">I")
U64: Final = Struct(">Q")

U16_MAX: Final = 0xFFFF
U32_MAX: Final = 0xFFFFFFFF
U64_MAX: Final = 0xFFFFFFFFFFFFFFFF
