"""Requests for members of streams and share groups, and the partitions they read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from exporter.collectors.kafka.raw.codec import NO_TAGS, Decoder, compact_array, compact_string
from exporter.collectors.kafka.raw.connection import BrokerConnection
from exporter.collectors.kafka.raw.group_protocol import (
    GROUP_ID_NOT_FOUND,
    SHARE_DESCRIBE,
    SHARE_VERSION,
    STREAMS_DESCRIBE,
    STREAMS_VERSION,
    Kind,
    Refused,
    batches,
    partition_number,
    read_answer,
)
from exporter.model import Deadline

ABSENT = -1
"""The first byte of a structure that is absent."""


@dataclass(frozen=True, slots=True)
class Described:
    """A group's description. `members` maps a member id to its partitions."""

    state: str
    members: Mapping[str, Sequence[tuple[str, int]]]


def describe(
    connection: BrokerConnection, kind: Kind, groups: Sequence[str], deadline: Deadline
) -> dict[str, Described | Refused]:
    """Return the description of each group, or the broker's refusal."""
    api, version, parse = DESCRIBING[kind]
    if not connection.knows(api, version):
        return dict.fromkeys(groups, Refused(GROUP_ID_NOT_FOUND, "the broker has no such groups"))
    found: dict[str, Described | Refused] = {}
    for batch in batches(groups):
        body = compact_array(map(compact_string, batch)) + b"\0" + NO_TAGS
        answer = connection.request(api, version, body, deadline)
        found.update(read_answer(answer, lambda answer: _parse_described(answer, parse)))
    return found


def _parse_described(
    answer: Decoder, parse: Callable[[Decoder, str], Described]
) -> dict[str, Described | Refused]:
    found: dict[str, Described | Refused] = {}

    def group() -> None:
        error, message, name = answer.int16(), answer.nullable_string(), answer.string()
        state = answer.string()
        answer.int32()
        answer.int32()
        described = parse(answer, state)
        answer.int32()
        answer.tags()
        found[name] = Refused(error, message or "") if error else described

    answer.int32()
    answer.array(group)
    return found


def _parse_share(answer: Decoder, state: str) -> Described:
    answer.string()
    members: dict[str, list[tuple[str, int]]] = {}

    def topic() -> list[tuple[str, int]]:
        answer.uuid()
        name, partitions = answer.string(), answer.array(lambda: partition_number(answer))
        answer.tags()
        return [(name, partition) for partition in partitions]

    def member() -> None:
        name = answer.string()
        answer.nullable_string()
        answer.int32()
        answer.string()
        answer.string()
        answer.array(answer.string)
        members[name] = [pair for pairs in answer.array(topic) for pair in pairs]
        answer.tags()
        answer.tags()

    answer.array(member)
    return Described(state, members)


def _parse_streams(answer: Decoder, state: str) -> Described:
    sources = _parse_topology(answer) if answer.int8() != ABSENT else {}
    members: dict[str, list[tuple[str, int]]] = {}

    def member() -> None:
        name = answer.string()
        answer.int32()
        for _ in range(2):
            answer.nullable_string()
        for _ in range(2):
            answer.string()
        answer.int32()
        answer.string()
        if answer.int8() != ABSENT:
            _skip_endpoint(answer)
        answer.array(lambda: _skip_pair(answer))
        for _ in range(2):
            answer.array(lambda: _skip_task_offset(answer))
        active = _parse_tasks(answer)
        _parse_tasks(answer)
        answer.boolean()
        answer.tags()
        members[name] = [
            (topic, partition)
            for subtopology, partitions in active
            for topic in sources.get(subtopology, ())
            for partition in partitions
        ]

    answer.array(member)
    return Described(state, members)


def _parse_topology(answer: Decoder) -> dict[str, list[str]]:
    """Return the topics that each subtopology reads, including topics between subtopologies."""
    sources: dict[str, list[str]] = {}

    def internal() -> str:
        name = answer.string()
        answer.int32()
        answer.int16()
        answer.array(lambda: _skip_pair(answer))
        answer.tags()
        return name

    def subtopology() -> None:
        name = answer.string()
        topics = answer.array(answer.string)
        answer.array(answer.string)
        answer.array(internal)
        sources[name] = [*topics, *answer.array(internal)]
        answer.tags()

    answer.int32()
    answer.array(subtopology)
    answer.tags()
    return sources


def _parse_tasks(answer: Decoder) -> list[tuple[str, list[int]]]:
    """Return the active tasks of an assignment: subtopology and partitions."""

    def tasks() -> tuple[str, list[int]]:
        found = (answer.string(), answer.array(lambda: partition_number(answer)))
        answer.tags()
        return found

    active = answer.array(tasks)
    answer.array(tasks)
    answer.array(tasks)
    answer.tags()
    return active


def _skip_endpoint(answer: Decoder) -> None:
    answer.string()
    answer.int16()
    answer.tags()


def _skip_pair(answer: Decoder) -> None:
    answer.string()
    answer.string()
    answer.tags()


def _skip_task_offset(answer: Decoder) -> None:
    answer.string()
    answer.int32()
    answer.int64()
    answer.tags()


DESCRIBING: Mapping[Kind, tuple[int, int, Callable[[Decoder, str], Described]]] = {
    "share": (SHARE_DESCRIBE, SHARE_VERSION, _parse_share),
    "streams": (STREAMS_DESCRIBE, STREAMS_VERSION, _parse_streams),
}
