"""One gzip stream out of parts that were compressed apart.

Parts end on a byte with a flushed deflate block, so that they can stand behind each other in one stream (RFC 1951). A
gzip file may also have several members, but not every reader copes with them: urllib3 2.8 repeats bytes of theirs.
The stream's check value is combined from those of the parts.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LEVEL = 1
"""On a page of label texts level 1 is four times faster than 6, for a few per cent more bytes."""

_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
"""Deflate, no name, no time, fastest, no particular system (RFC 1952, 2.3)."""
_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31


@dataclass(frozen=True, slots=True)
class Part:
    """Compressed bytes that another part may follow, and what the check needs to know of them."""

    deflated: bytes
    crc: int
    length: int
    """Of what was compressed."""
    shift: int
    """What a check value is multiplied with to move it in front of this part."""


def part(pieces: Iterable[bytes]) -> Part:
    """Compress the pieces to one part."""
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    out, crc, length = [], 0, 0
    for piece in pieces:
        out.append(compressor.compress(piece))
        crc = zlib.crc32(piece, crc)
        length += len(piece)
    out.append(compressor.flush(zlib.Z_FULL_FLUSH))
    return Part(b"".join(out), crc, length, _shift(length))


@dataclass(frozen=True, slots=True)
class Stream:
    """The beginning of a gzip stream."""

    head: bytes
    crc: int
    length: int

    def ended_by(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the whole stream, with `data` as its end, in two chunks."""
        compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        tail = compressor.compress(data) + compressor.flush()
        length = (self.length + len(data)) & 0xFFFFFFFF
        return self.head, tail + struct.pack("<II", zlib.crc32(data, self.crc), length)


def stream(parts: Sequence[Part]) -> Stream:
    """Put parts one behind the other."""
    crc = length = 0
    for each in parts:
        crc = _times(each.shift, crc) ^ each.crc
        length += each.length
    return Stream(b"".join([_HEADER, *(each.deflated for each in parts)]), crc, length)


def _times(a: int, b: int) -> int:
    """Multiply two polynomials over GF(2) modulo that of CRC-32, bits reflected."""
    product = 0
    bit = _ONE
    while bit:
        if a & bit:
            product ^= b
        b = b >> 1 ^ _POLYNOMIAL if b & 1 else b >> 1
        bit >>= 1
    return product


def _shift(length: int) -> int:
    """Return x to the power of eight times `length`, modulo the polynomial: what `length` bytes do to a check."""
    power, square = _ONE, _ONE >> 8
    while length:
        if length & 1:
            power = _times(power, square)
        square = _times(square, square)
        length >>= 1
    return power
