"""One gzip stream out of parts that were compressed apart.

Parts end on a byte with a flushed deflate block, so that one can follow the other in one stream (RFC 1951). A gzip file
may also have several members, but not every reader copes with them: urllib3 2.8 repeats bytes of theirs.

The stream's check value (CRC-32) covers all parts. A large part brings its own value, which is combined with the value
of what comes before. That costs the same for every size. For a small part it is faster to read its bytes again.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

LEVEL = 1
"""On a page of label texts level 1 is four times faster than 6, for a few per cent more bytes."""

_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
"""Deflate, no name, no time, fastest, no particular system (RFC 1952, 2.3)."""
_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31
LENGTH_BITS = 48
SMALL = 8_192
"""Bytes that the C library checks in the time of one combination."""


@dataclass(frozen=True, slots=True)
class CompressedPart:
    """Compressed bytes that another part may follow, and what the check needs to know of them."""

    plain: tuple[bytes, ...]
    """What was compressed."""
    deflated: bytes
    length: int
    """Of what was compressed."""
    crc: int
    shift: int
    """What a check value is multiplied with to move it before this part. Both are 0 for a small part: nobody asks."""


def part(pieces: Iterable[bytes]) -> CompressedPart:
    """Compress the pieces to one part."""
    plain = tuple(pieces)
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    out = [compressor.compress(piece) for piece in plain]
    out.append(compressor.flush(zlib.Z_FULL_FLUSH))
    deflated, length = b"".join(out), sum(map(len, plain))
    if length <= SMALL:
        return CompressedPart(plain, deflated, length, 0, 0)
    return CompressedPart(plain, deflated, length, _checked(plain, 0), _shift(length))


@dataclass(frozen=True, slots=True)
class GzipStream:
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


def stream(parts: Iterable[CompressedPart]) -> GzipStream:
    """Put the parts one after the other."""
    crc = length = 0
    out = [_HEADER]
    for each in parts:
        if each.length <= SMALL:
            crc = _checked(each.plain, crc)
        else:
            crc = _times(each.shift, crc) ^ each.crc
        length += each.length
        out.append(each.deflated)
    return GzipStream(b"".join(out), crc, length)


def _checked(pieces: Iterable[bytes], crc: int) -> int:
    """Return the check value of what `crc` is the value of, and the pieces after it."""
    for piece in pieces:
        crc = zlib.crc32(piece, crc)
    return crc


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


def _squares() -> list[int]:
    """Return x to the power of 8, 16, 32 and so on, modulo the polynomial."""
    powers = [_ONE >> 8]
    while len(powers) < LENGTH_BITS:
        powers.append(_times(powers[-1], powers[-1]))
    return powers


_SQUARES = _squares()


def _shift(length: int) -> int:
    """Return x to the power of eight times `length`, modulo the polynomial: what `length` bytes do to a check."""
    power = _ONE
    for bit in range(length.bit_length()):
        if length >> bit & 1:
            power = _times(_SQUARES[bit], power)
    return power
