"""Common definitions for requests about streams groups (KIP-1071) and share groups (KIP-932)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeVar

from exporter.collectors.kafka.raw.codec import Decoder, Garbled
from exporter.model import CollectError

T = TypeVar("T")
Kind = Literal["share", "streams"]
KINDS: tuple[Kind, ...] = ("share", "streams")

FIND_COORDINATOR, LIST_GROUPS, SHARE_DESCRIBE, STREAMS_DESCRIBE, SHARE_OFFSETS = 10, 16, 77, 89, 90
FIND_VERSION, LIST_VERSION, SHARE_VERSION, STREAMS_VERSION, OFFSETS_VERSION = 4, 5, 1, 0, 1
GROUP_ID_NOT_FOUND = 69
TOPIC_REFUSED = 29
REFUSED = frozenset({TOPIC_REFUSED, 30, 31})
"""TOPIC_AUTHORIZATION_FAILED, GROUP_AUTHORIZATION_FAILED, CLUSTER_AUTHORIZATION_FAILED."""
BATCH = 100
"""Groups per request."""


class Refused(NamedTuple):
    """A broker's refusal to answer about a group: Kafka's error code and message."""

    error: int
    message: str


def batches(groups: Sequence[str]) -> list[Sequence[str]]:
    """Split the groups into batches that fit into a request."""
    return [groups[first : first + BATCH] for first in range(0, len(groups), BATCH)]


def read_answer(answer: Decoder, parse: Callable[[Decoder], T]) -> T:
    """Return the result of `parse`. Raises `CollectError` if the answer is not valid."""
    try:
        return parse(answer)
    except Garbled as error:
        raise CollectError("invalid", f"cannot read a broker's response: {error}") from None


def partition_number(answer: Decoder) -> int:
    """Decode a partition number. Raises `Garbled` if it is negative."""
    number = answer.int32()
    if number < 0:
        raise Garbled("a partition has a negative number")
    return number
