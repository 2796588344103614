"""Decodes the records of `__consumer_offsets`.

The schemas are OffsetCommitKey.json and OffsetCommitValue.json in Kafka's module group-coordinator.
Integers are big-endian; each key and value begins with the version of its schema, an int16.
"""

from __future__ import annotations

from typing import NamedTuple

from exporter.collectors.kafka.raw.codec import Decoder, Garbled

COMMIT_KEYS = range(2)
"""Versions of a key that belong to commits. Others belong to groups and their members."""
COMMIT_VALUES = range(5)
"""Known versions of a commit's value. All begin with the offset."""
LEADER_EPOCH, COMPACT = 3, 4
"""First versions of a value with a leader epoch, and with compact strings."""
OFFSET = slice(2, 10)
"""The offset in the value of a commit."""
EPOCH_BYTES, TIME_BYTES = 4, 8


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
    decoder = Decoder(key)
    try:
        if decoder.int16() not in COMMIT_KEYS:
            return None
        group, topic = decoder.old_string(), decoder.old_string()
        partition = decoder.int32()
    except Garbled:
        raise MalformedRecordError from None
    if group is None or topic is None or not decoder.is_over:
        raise MalformedRecordError
    return CommitKey(group, topic, partition)


def commit_time(value: bytes) -> float | None:
    """Return when the coordinator took the commit, in Unix seconds; None if it cannot be read.

    `value` is that of a commit with a known version. This is called for each commit that moves an
    offset.
    """
    version = value[1]
    at = OFFSET.stop + (EPOCH_BYTES if version >= LEADER_EPOCH else 0)
    # The metadata, which most clients leave empty.
    if version >= COMPACT:
        length, shift = 0, 0
        for byte in value[at:]:
            length |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:  # noqa: PLR2004 - the last byte of a varint
                break
        at += max(length - 1, 0)
    else:
        at += 2 + max(int.from_bytes(value[at : at + 2], "big", signed=True), 0)
    if len(value) < at + TIME_BYTES:
        return None
    milliseconds = int.from_bytes(value[at : at + TIME_BYTES], "big", signed=True)
    return milliseconds / 1000 if milliseconds > 0 else None


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
