"""Requests for the list of streams and share groups, and for group coordinators."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from exporter.collectors.kafka.raw.codec import (
    NO_TAGS,
    Decoder,
    Garbled,
    compact_array,
    compact_string,
)
from exporter.collectors.kafka.raw.connection import BrokerConnection
from exporter.collectors.kafka.raw.group_protocol import (
    FIND_COORDINATOR,
    FIND_VERSION,
    KINDS,
    LIST_GROUPS,
    LIST_VERSION,
    REFUSED,
    SHARE_DESCRIBE,
    SHARE_VERSION,
    STREAMS_DESCRIBE,
    STREAMS_VERSION,
    Kind,
    read_answer,
)
from exporter.collectors.reply_rows import LAST_PORT, is_host
from exporter.model import CollectError, Deadline


class Listed(NamedTuple):
    """A group in a broker's list."""

    name: str
    kind: Kind
    state: str


def supports_groups(connection: BrokerConnection) -> bool:
    """Return whether a broker supports these groups, and listing them."""
    return connection.knows(LIST_GROUPS, LIST_VERSION) and (
        connection.knows(SHARE_DESCRIBE, SHARE_VERSION)
        or connection.knows(STREAMS_DESCRIBE, STREAMS_VERSION)
    )


def list_groups(connection: BrokerConnection, deadline: Deadline) -> list[Listed]:
    """Return the groups of both kinds that the broker coordinates and the user may see."""
    body = compact_array([]) + compact_array(map(compact_string, KINDS)) + NO_TAGS
    answer = connection.request(LIST_GROUPS, LIST_VERSION, body, deadline)
    return read_answer(answer, _parse_listing)


def _parse_listing(answer: Decoder) -> list[Listed]:
    answer.int32()
    error = answer.int16()
    if error:
        raise _refusal(error, "the list of groups")
    found: list[Listed] = []

    def group() -> None:
        name, _, state, kind = (answer.string() for _ in range(4))
        answer.tags()
        found.extend(Listed(name, known, state) for known in KINDS if kind.lower() == known)

    answer.array(group)
    return found


def find_coordinators(
    connection: BrokerConnection, groups: Iterable[str], deadline: Deadline
) -> dict[str, str]:
    """Return the address of each group's coordinator; groups without one are left out."""
    body = b"\0" + compact_array(map(compact_string, groups)) + NO_TAGS
    answer = connection.request(FIND_COORDINATOR, FIND_VERSION, body, deadline)
    return read_answer(answer, _parse_coordinators)


def _parse_coordinators(answer: Decoder) -> dict[str, str]:
    answer.int32()
    found = {}

    def coordinator() -> None:
        key = answer.string()
        answer.int32()
        host, port = answer.string(), answer.int32()
        error = answer.int16()
        answer.nullable_string()
        answer.tags()
        if not error:
            found[key] = _address(host, port)

    answer.array(coordinator)
    return found


def _address(host: str, port: int) -> str:
    if not (is_host(host) and 1 <= port <= LAST_PORT):
        raise Garbled("the address of a coordinator is none")
    return f"{host}:{port}"


def _refusal(error: int, what: str) -> CollectError:
    if error in REFUSED:
        return CollectError("unauthorized", f"{what} was denied; give the user Describe on groups")
    return CollectError("unreachable", f"{what} is not available yet (error {error})")
