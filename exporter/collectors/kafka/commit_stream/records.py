"""Decodes the records of `__consumer_offsets`.

The schemas are OffsetCommitKey.json, OffsetCommitValue.json, and those of GroupMetadata and
ConsumerGroupMetadata, in Kafka's module group-coordinator. Integers are big-endian; each key and
value begins with the version of its schema, an int16.
"""

from __future__ import annotations

from typing import NamedTuple

from exporter.collectors.kafka.raw.codec import Decoder, Garbled

COMMIT_KEYS = range(2)
"""Versions of a key that belong to commits. Others belong to groups and their members."""
COMMIT_VALUES = range(5)
"""Known versions of a commit's value. All begin with the offset."""
CLASSIC_GROUP, CONSUMER_GROUP = 2, 3
"""Versions of a key that belong to groups of the classic and of the consumer protocol."""
CLASSIC_VALUES, CONSUMER_VALUES = range(5), range(1)
"""Known versions of their values."""
STATE_TIME = 2
"""First version of a classic group's value with the time of its state. The version `COMPACT` has
compact strings, too."""
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


class Generation(NamedTuple):
    """The generation of a group."""

    number: int
    is_empty: bool
    """Whether it has no members. False for the consumer protocol, whose records do not say it."""


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


def group_key(key: bytes) -> str | None:
    """Return the group whose state, members or assignment a record has; None for a commit.

    All these keys begin with the name of the group.
    """
    decoder = Decoder(key)
    try:
        return None if decoder.int16() in COMMIT_KEYS else decoder.old_string()
    except Garbled:
        return None


def has_generation(key: bytes) -> bool:
    """Return whether records with this key have the generation of a group."""
    return int.from_bytes(key[:2], "big") in (CLASSIC_GROUP, CONSUMER_GROUP)


def generation(key: bytes, value: bytes) -> Generation:
    """Return the generation in a record; `key` is one for which `has_generation` is true.

    Raises `MalformedRecordError`, also for an unknown version.
    """
    kind = int.from_bytes(key[:2], "big")
    decoder = Decoder(value)
    try:
        version = decoder.int16()
        if kind == CONSUMER_GROUP:
            if version not in CONSUMER_VALUES:
                raise MalformedRecordError
            return Generation(decoder.int32(), is_empty=False)
        if version not in CLASSIC_VALUES:
            raise MalformedRecordError
        is_compact = version >= COMPACT
        text = decoder.nullable_string if is_compact else decoder.old_string
        text()  # the type of the protocol
        number = decoder.int32()
        text(), text()  # the protocol and the leader
        if version >= STATE_TIME:
            decoder.int64()
        members = decoder.varint() - 1 if is_compact else decoder.int32()
    except Garbled:
        raise MalformedRecordError from None
    return Generation(number, is_empty=members <= 0)


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
