"""Encodes and decodes Kafka's flexible versions: compact strings and arrays, tagged fields.

https://kafka.apache.org/protocol.html
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import TypeVar
from uuid import UUID

T = TypeVar("T")

MOST_ITEMS = 10_000_000
"""Maximum length of an array; a longer one is not valid."""


class Garbled(Exception):  # noqa: N818 - the name says what the bytes are
    """An answer that cannot be decoded."""


def varint(value: int) -> bytes:
    """Encode an unsigned number, seven bits per byte."""
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def compact_string(text: str) -> bytes:
    """Encode a string."""
    data = text.encode()
    return varint(len(data) + 1) + data


def compact_array(items: Iterable[bytes]) -> bytes:
    """Encode an array of encoded items."""
    found = list(items)
    return varint(len(found) + 1) + b"".join(found)


NO_TAGS = b"\0"
NULL_ARRAY = b"\0"


class Decoder:
    """Decodes values of an answer one by one. Raises `Garbled` if the answer is too short."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_over(self) -> bool:
        """Whether everything was decoded."""
        return self._at == len(self._data)

    def _bytes(self, size: int) -> bytes:
        if size < 0 or self._at + size > len(self._data):
            raise Garbled("the answer ends too early")
        found = self._data[self._at : self._at + size]
        self._at += size
        return found

    def _number(self, form: str, size: int) -> int:
        value: int = struct.unpack(form, self._bytes(size))[0]
        return value

    def int8(self) -> int:
        """Decode a signed number of one byte."""
        return self._number(">b", 1)

    def int16(self) -> int:
        """Decode a signed number of two bytes."""
        return self._number(">h", 2)

    def int32(self) -> int:
        """Decode a signed number of four bytes."""
        return self._number(">i", 4)

    def int64(self) -> int:
        """Decode a signed number of eight bytes."""
        return self._number(">q", 8)

    def boolean(self) -> bool:
        """Decode a boolean."""
        return self.int8() != 0

    def uuid(self) -> UUID:
        """Decode a UUID."""
        return UUID(bytes=self._bytes(16))

    def varint(self) -> int:
        """Decode an unsigned number with seven bits per byte."""
        value = shift = 0
        while True:
            byte = self._bytes(1)[0]
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
            shift += 7
            if shift > 28:  # noqa: PLR2004 - five bytes for 32 bits
                raise Garbled("a length has more than 32 bits")

    def string(self) -> str:
        """Decode a compact string that must not be null."""
        text = self.nullable_string()
        if text is None:
            raise Garbled("a string is null that must not be")
        return text

    def nullable_string(self) -> str | None:
        """Decode a compact string, or None."""
        size = self.varint()
        return None if size == 0 else _text(self._bytes(size - 1))

    def old_string(self) -> str | None:
        """Decode a string of a version that is not flexible, or None."""
        size = self.int16()
        return None if size < 0 else _text(self._bytes(size))

    def old_bytes(self) -> bytes:
        """Decode bytes of a version that is not flexible."""
        return self._bytes(max(self.int32(), 0))

    def array(self, item: Callable[[], T]) -> list[T]:
        """Decode a compact array with `item` for each item; null counts as empty."""
        return [item() for _ in range(self._count(self.varint() - 1))]

    def old_array(self, item: Callable[[], T]) -> list[T]:
        """Decode an array of a version that is not flexible."""
        return [item() for _ in range(self._count(self.int32()))]

    def _count(self, count: int) -> int:
        if count > MOST_ITEMS or count > len(self._data):
            raise Garbled("an array has more items than the answer has bytes")
        return count

    def tags(self) -> None:
        """Skip tagged fields."""
        for _ in range(self._count(self.varint())):
            self.varint()
            self._bytes(self.varint())


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Garbled("a string is not UTF-8") from None
