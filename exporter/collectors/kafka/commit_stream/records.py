"""Decodes the records of `__consumer_offsets`.

The schemas are OffsetCommitKey.json and OffsetCommitValue.json in Kafka's module group-coordinator.
Integers are big-endian; each key and value begins with the version of its schema, an int16.
"""

from __future__ import annotations

from typing import NamedTuple

COMMIT_KEYS = range(2)
"""Versions of a key that belong to commits. Others belong to groups and their members."""
COMMIT_VALUES = range(5)
"""Known versions of a commit's value. All begin with the offset."""
OFFSET = slice(2, 10)
"""The offset in the value of a commit."""


class CommitKey(NamedTuple):
    """What a commit is about."""

    group: str
    topic: str
    partition: int


class MalformedRecordError(ValueError):
    """The bytes do not fit the schema."""


def commit_key(key: bytes) -> CommitKey | None:
    """Return the key of a commit; None for a record of another kind.

    Raises `MalformedRecordError`.
    """
    if len(key) < 2:  # noqa: PLR2004 - the version
        raise MalformedRecordError
    if int.from_bytes(key[:2], "big") not in COMMIT_KEYS:
        return None
    group, at = _text(key, 2)
    topic, at = _text(key, at)
    if len(key) != at + 4:
        raise MalformedRecordError
    return CommitKey(group, topic, int.from_bytes(key[at:], "big", signed=True))


def _text(data: bytes, at: int) -> tuple[str, int]:
    """Return a string that begins with its length, an int16, and where it ends."""
    begin = at + 2
    size = int.from_bytes(data[at:begin], "big", signed=True)
    end = begin + size
    if size < 0 or end > len(data):
        raise MalformedRecordError
    try:
        return data[begin:end].decode(), end
    except UnicodeDecodeError:
        raise MalformedRecordError from None


def partition_of(group: str, partitions: int) -> int:
    """Return the partition of the topic that has the group's records.

    It is the absolute value of Java's `String.hashCode`, modulo the number of partitions.
    """
    found = 0
    units = group.encode("utf-16-be", "surrogatepass")
    for high, low in zip(units[::2], units[1::2], strict=True):
        found = (31 * found + (high << 8) + low) & 0xFFFFFFFF
    signed = found - (1 << 32) if found >= 1 << 31 else found
    return (0 if signed == -(1 << 31) else abs(signed)) % partitions
