"""The protocol of streams groups (KIP-1071) and share groups (KIP-932): what several requests have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeVar

from exporter.collectors.kafka.raw.codec import Garbled, Reader
from exporter.model import CollectError

T = TypeVar("T")
Kind = Literal["share", "streams"]
KINDS: tuple[Kind, ...] = ("share", "streams")

FIND_COORDINATOR, LIST_GROUPS, SHARE_DESCRIBE, STREAMS_DESCRIBE, SHARE_OFFSETS = 10, 16, 77, 89, 90
FIND_VERSION, LIST_VERSION, SHARE_VERSION, STREAMS_VERSION, OFFSETS_VERSION = 4, 5, 1, 0, 1
GROUP_ID_NOT_FOUND = 69
TOPIC_REFUSED = 29
REFUSED = frozenset({TOPIC_REFUSED, 30, 31})
"""Codes of TOPIC_, GROUP_ and CLUSTER_AUTHORIZATION_FAILED."""
BATCH = 100
"""Groups a request."""


class Refused(NamedTuple):
    """Why a broker does not tell of a group: Kafka's error code, and its words."""

    error: int
    message: str


def batches(groups: Sequence[str]) -> list[Sequence[str]]:
    """Return the groups in parts, each of which fits into a request."""
    return [groups[first : first + BATCH] for first in range(0, len(groups), BATCH)]


def read_answer(answer: Reader, take: Callable[[Reader], T]) -> T:
    """Return what `take` reads from an answer. Raises `CollectError` where the answer is not valid."""
    try:
        return take(answer)
    except Garbled as error:
        raise CollectError("invalid", f"cannot read a broker's response: {error}") from None


def partition_number(answer: Reader) -> int:
    """Read the number of a partition. Raises `Garbled` where it is negative."""
    number = answer.int32()
    if number < 0:
        raise Garbled("a partition has a negative number")
    return number
