"""The request for offsets of share groups, which do not commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from exporter.collectors.kafka.raw.codec import (
    NO_TAGS,
    NULL_ARRAY,
    Decoder,
    compact_array,
    compact_string,
)
from exporter.collectors.kafka.raw.connection import BrokerConnection
from exporter.collectors.kafka.raw.group_protocol import (
    OFFSETS_VERSION,
    SHARE_OFFSETS,
    Refused,
    batches,
    partition_number,
    read_answer,
)
from exporter.model import Deadline

UNKNOWN = -1
"""An offset or lag that a broker does not know."""


class SharePartition(NamedTuple):
    """The state of a share group in a partition."""

    topic: str
    partition: int
    start: int | None
    """Offset before which all records are processed.

    `UNKNOWN` if there is none yet, None if it is unreadable.
    """
    lag: int | None
    """Number of records that are not processed; None if the broker does not know."""


def share_offsets(
    connection: BrokerConnection, groups: Sequence[str], deadline: Deadline
) -> dict[str, list[SharePartition] | Refused]:
    """Return the state of each share group in each partition, or the broker's refusal."""
    if not connection.knows(SHARE_OFFSETS, OFFSETS_VERSION):
        refused = Refused(
            0, "only brokers of Kafka 4.2 and later tell how far share groups have got"
        )
        return dict.fromkeys(groups, refused)
    found: dict[str, list[SharePartition] | Refused] = {}
    for batch in batches(groups):
        items = (compact_string(group) + NULL_ARRAY + NO_TAGS for group in batch)
        body = compact_array(items) + NO_TAGS
        answer = connection.request(SHARE_OFFSETS, OFFSETS_VERSION, body, deadline)
        found.update(read_answer(answer, _parse_offsets))
    return found


def _parse_offsets(answer: Decoder) -> dict[str, list[SharePartition] | Refused]:
    found: dict[str, list[SharePartition] | Refused] = {}

    def partition(topic: str) -> SharePartition:
        number, start = partition_number(answer), answer.int64()
        answer.int32()
        lag = answer.int64()
        error = answer.int16()
        answer.nullable_string()
        answer.tags()
        if error:
            return SharePartition(topic, number, None, None)
        return SharePartition(topic, number, max(start, UNKNOWN), lag if lag >= 0 else None)

    def topic() -> list[SharePartition]:
        name = answer.string()
        answer.uuid()
        partitions = answer.array(lambda: partition(name))
        answer.tags()
        return partitions

    def group() -> None:
        name = answer.string()
        rows = [row for rows in answer.array(topic) for row in rows]
        error, message = answer.int16(), answer.nullable_string()
        answer.tags()
        found[name] = Refused(error, message or "") if error else rows

    answer.int32()
    answer.array(group)
    return found
