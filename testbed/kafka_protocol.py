"""Uses Kafka's protocol directly, for requests that client libraries refuse to send."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping

from testbed.waiting import wait_until

_OFFSET_COMMIT, _OFFSET_COMMIT_VERSION = 8, 2
_JOIN, _JOIN_VERSION, _SYNC, _SYNC_VERSION = 11, 2, 14, 1
_SESSION_MS = 300_000
_NO_GENERATION, _DEFAULT_RETENTION = -1, -1
_PASSING = (3, 14, 15, 16)
"""Error codes of a new cluster: unknown topic; coordinator loading, not available, or moved."""


def commit_raw(address: str, group: bytes, offsets: Mapping[tuple[str, int], int]) -> None:
    """Commit offsets under a group id of any bytes. `address` must be that of the only broker.

    A client that commits without being a member does the same: to the broker it is a simple group.
    """
    wait_until(
        lambda: _commit(address, group, offsets), f"the commit of {group!r}", poll_seconds=0.2
    )


def _commit(address: str, group: bytes, offsets: Mapping[tuple[str, int], int]) -> bool:
    rows = [
        _string(topic.encode()) + struct.pack(">iiq", 1, partition, offset) + _string(None)
        for (topic, partition), offset in offsets.items()
    ]
    body = (
        _string(group)
        + struct.pack(">i", _NO_GENERATION)
        + _string(b"")
        + struct.pack(">q", _DEFAULT_RETENTION)
        + struct.pack(">i", len(rows))
        + b"".join(rows)
    )
    answer = _ask(address, _OFFSET_COMMIT, _OFFSET_COMMIT_VERSION, body)
    codes = _commit_errors(answer)
    failed = [code for code in codes if code]
    if all(code in _PASSING for code in failed):
        return not failed
    raise RuntimeError(f"the broker refused the commit with the codes {codes}")


def join_raw(address: str, group: bytes, assignment: bytes) -> None:
    """Join a group as its only member, with an assignment of any bytes.

    `address` must be that of the only broker. The member stays until its session times out, which
    is long after a test.
    """
    host, port = address.rsplit(":", 1)
    protocol = struct.pack(">i", 1) + _string(b"range") + _bytes(struct.pack(">hii", 0, 0, -1))
    timeouts = struct.pack(">ii", _SESSION_MS, _SESSION_MS)
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        joining = _string(group) + timeouts + _string(b"") + _string(b"consumer") + protocol
        answer = _ask_by(connection, _JOIN, _JOIN_VERSION, joining)
        _, code, generation = struct.unpack_from(">ihi", answer)
        _, at = _read_string(answer, 10)
        _, at = _read_string(answer, at)
        member, _ = _read_string(answer, at)
        own = struct.pack(">i", 1) + _string(member) + _bytes(assignment)
        syncing = _string(group) + struct.pack(">i", generation) + _string(member) + own
        _, synced = struct.unpack_from(">ih", _ask_by(connection, _SYNC, _SYNC_VERSION, syncing))
    if code or synced:
        raise RuntimeError(f"the broker refused the member with the codes {code} and {synced}")


def _ask(address: str, api: int, version: int, body: bytes) -> bytes:
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        return _ask_by(connection, api, version, body)


def _ask_by(connection: socket.socket, api: int, version: int, body: bytes) -> bytes:
    request = struct.pack(">hhi", api, version, 1) + _string(b"tests") + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    (size,) = struct.unpack(">i", _exactly(connection, 4))
    return _exactly(connection, size)[4:]


def _bytes(value: bytes) -> bytes:
    return struct.pack(">i", len(value)) + value


def _read_string(answer: bytes, at: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from(">h", answer, at)
    return answer[at + 2 : at + 2 + length], at + 2 + length


def _exactly(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = connection.recv(count - len(found))
        if not part:
            raise RuntimeError("the broker closed the connection")
        found += part
    return found


def _string(value: bytes | None) -> bytes:
    return struct.pack(">h", -1) if value is None else struct.pack(">h", len(value)) + value


def _commit_errors(answer: bytes) -> list[int]:
    (topics,), at = struct.unpack_from(">i", answer), 4
    codes = []
    for _ in range(topics):
        (length,) = struct.unpack_from(">h", answer, at)
        at += 2 + length
        (partitions,) = struct.unpack_from(">i", answer, at)
        at += 4
        for _ in range(partitions):
            codes.append(struct.unpack_from(">ih", answer, at)[1])
            at += 6
    return codes
