"""Joins separately compressed parts to one gzip stream.

Each part ends on a byte boundary with a flushed deflate block, so that parts can follow each other
in one stream (RFC 1951). A gzip file may also have several members, but not every client can read
them: urllib3 2.8 repeats some of their bytes.

The checksum of the stream (CRC-32) covers all parts. A large part has its own checksum, which is
combined with that of the bytes before it. This costs the same for every size. For a small part it
is faster to read its bytes again.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

LEVEL = 1
"""Compression level. On an exposition, level 1 is four times faster than 6 and costs a few per cent
more bytes.
"""

_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
"""Deflate, no name, no time, fastest, unknown system (RFC 1952, 2.3)."""
_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31
LENGTH_BITS = 48
SMALL = 8_192
"""Size in bytes up to which computing a checksum is faster than combining one."""


@dataclass(frozen=True, slots=True)
class CompressedPart:
    """Compressed bytes that another part can follow, with the data for the checksum."""

    deflated: bytes
    length: int
    """Number of uncompressed bytes."""
    small: bytes
    """The uncompressed bytes of a small part; a large one has `crc` and `shift` instead."""
    crc: int = 0
    shift: int = 0
    """Factor that moves a checksum of earlier bytes before this part."""

    @property
    def packed_length(self) -> int:
        """Number of bytes that are kept."""
        return len(self.deflated) + len(self.small)

    def plain(self) -> bytes:
        """Return the uncompressed bytes. Only few clients ask for them, so they are not kept."""
        if self.length <= SMALL:
            return self.small
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(self.deflated)


def part(data: bytes) -> CompressedPart:
    """Compress the data to one part."""
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    deflated = compressor.compress(data) + compressor.flush(zlib.Z_FULL_FLUSH)
    if len(data) <= SMALL:
        return CompressedPart(deflated, len(data), data)
    return CompressedPart(deflated, len(data), b"", zlib.crc32(data), _shift(len(data)))


@dataclass(frozen=True, slots=True)
class GzipStream:
    """A gzip stream without its end."""

    head: bytes
    crc: int
    length: int

    def ended_by(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the complete stream, with `data` at its end, in two chunks."""
        compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        tail = compressor.compress(data) + compressor.flush()
        length = (self.length + len(data)) & 0xFFFFFFFF
        return self.head, tail + struct.pack("<II", zlib.crc32(data, self.crc), length)


def stream(parts: Iterable[CompressedPart]) -> GzipStream:
    """Join the parts."""
    crc = length = 0
    out = [_HEADER]
    for each in parts:
        if each.length <= SMALL:
            crc = zlib.crc32(each.small, crc)
        else:
            crc = _times(each.shift, crc) ^ each.crc
        length += each.length
        out.append(each.deflated)
    return GzipStream(b"".join(out), crc, length)


def _times(a: int, b: int) -> int:
    """Multiply two polynomials over GF(2) modulo that of CRC-32, with reflected bits."""
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
    """Return x to the power of eight times `length`, modulo the polynomial.

    A multiplication with it moves a checksum before `length` bytes.
    """
    power = _ONE
    for bit in range(length.bit_length()):
        if length >> bit & 1:
            power = _times(_SQUARES[bit], power)
    return power
