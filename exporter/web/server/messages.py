"""Requests and responses, and the pieces in which a response is sent."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

PIECE_BYTES = 256 * 1024
_TEXT = "text/plain; charset=utf-8"
Headers = Iterable[tuple[str, str]]


class PackedChunk(Protocol):
    """A chunk that is unpacked when it is sent."""

    @property
    def length(self) -> int:
        """Number of bytes when it is unpacked."""
        ...

    @property
    def packed_length(self) -> int:
        """Number of bytes in memory."""
        ...

    def plain(self) -> bytes:
        """Return the bytes."""
        ...


Chunk = bytes | PackedChunk


@dataclass(frozen=True, slots=True)
class Request:
    """A request of a client.

    Header names are lower-case, the path is decoded, and the last of a repeated query key counts.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    """A response. The content is `chunks` in order; the length and the usual headers are added."""

    status: int
    content_type: str
    chunks: Sequence[Chunk]
    headers: tuple[tuple[str, str], ...] = ()


def plain(status: int, text: str, *headers: tuple[str, str]) -> Response:
    """Return a response with one line of text."""
    return Response(status, _TEXT, (f"{text}\n".encode(),), headers)


def refused(status: int) -> Response:
    """Return the response to an invalid or oversized request; it quotes nothing of it."""
    return plain(status, HTTPStatus(status).phrase)


def head(response: Response, extra: Headers, *, keep: bool) -> bytes:
    """Return the status line and the headers; `extra` overrides the usual ones."""
    status = HTTPStatus(response.status)
    headers = {
        "Date": formatdate(usegmt=True),
        "Server": "mq-lag-exporter",
        "Content-Type": response.content_type,
        "Content-Length": str(sum(map(_length, response.chunks))),
        "X-Content-Type-Options": "nosniff",
        "Connection": "keep-alive" if keep else "close",
        **dict(extra),
        **dict(response.headers),
    }
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    status_line = f"HTTP/1.1 {status.value} {status.phrase}\r\n"
    return "".join([status_line, *lines, "\r\n"]).encode("latin-1")


def held(chunk: Chunk) -> int:
    """Return the number of bytes that the chunk takes in memory."""
    return len(chunk) if isinstance(chunk, bytes) else chunk.packed_length


def _length(chunk: Chunk) -> int:
    return len(chunk) if isinstance(chunk, bytes) else chunk.length


def pieces(head: bytes, chunks: Sequence[Chunk]) -> Iterator[bytes | memoryview]:
    """Join small chunks and split large ones without copying. Packed ones are unpacked in turn.

    Each piece is worth a system call, and small enough that a slow client can receive it in time.
    """
    waiting, size = [head], len(head)
    for each in chunks:
        chunk = each if isinstance(each, bytes) else each.plain()
        if size + len(chunk) <= PIECE_BYTES:
            waiting.append(chunk)
            size += len(chunk)
            continue
        if waiting:
            yield b"".join(waiting)
            waiting, size = [], 0
        if len(chunk) <= PIECE_BYTES:
            waiting, size = [chunk], len(chunk)
            continue
        view = memoryview(chunk)
        for start in range(0, len(chunk), PIECE_BYTES):
            yield view[start : start + PIECE_BYTES]
    if waiting:
        yield b"".join(waiting)
