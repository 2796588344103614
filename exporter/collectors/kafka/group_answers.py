"""The meaning of brokers' answers about streams and share groups: states, members and problems."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TypeVar

from exporter.collectors.kafka.raw.group_descriptions import Described
from exporter.collectors.kafka.raw.group_protocol import REFUSED, Refused
from exporter.model import CollectError, GroupMembers, GroupState, Problem

T = TypeVar("T")

STATES: Mapping[str, GroupState] = {"stable": "stable", "empty": "empty", "dead": "dead"}
"""Other states (assigning, reconciling, not ready) map to `unknown`, as for consumer groups."""
ADVICE = "give the user Describe on the group and on its topics"


def merged(answers: Mapping[str, Mapping[str, T] | CollectError]) -> dict[str, T]:
    """Merge the answers of all brokers by group name; failed answers are left out."""
    return {
        name: value
        for answer in answers.values()
        if not isinstance(answer, CollectError)
        for name, value in answer.items()
    }


def problems_of(what: str, answers: Mapping[str, object]) -> list[Problem]:
    """Return a problem for each broker that failed to answer; `what` is the requested data."""
    return [
        Problem(answer.reason, what, str(answer))
        for answer in answers.values()
        if isinstance(answer, CollectError)
    ]


def refusal(name: str, answer: Refused) -> Problem:
    """Return the problem for a group that a broker refuses to describe."""
    if answer.error in REFUSED:
        return Problem("unauthorized", f"group {name}", words(answer))
    return Problem("unreachable", f"group {name}", words(answer))


def words(answer: Refused) -> str:
    """Describe why a broker refuses a group, and which right is missing."""
    text = answer.message.removesuffix(".") or f"error {answer.error}"
    return f"{text}; {ADVICE}" if answer.error in REFUSED else text


def group_state(word: str) -> GroupState:
    """Return the state for the name that a broker uses."""
    return STATES.get(word.lower(), "unknown")


def group_members(described: Described, wanted: Callable[[str], bool]) -> GroupMembers:
    """Return the members of a described group; `wanted` selects the topics."""
    readers: dict[str, int] = defaultdict(int)
    assigned: dict[str, set[int]] = defaultdict(set)
    for pairs in described.members.values():
        for topic in {topic for topic, _ in pairs if wanted(topic)}:
            readers[topic] += 1
        for topic, partition in pairs:
            if wanted(topic):
                assigned[topic].add(partition)
    return GroupMembers(
        state=group_state(described.state),
        members=frozenset(described.members),
        readers=dict(readers),
        assigned={topic: frozenset(partitions) for topic, partitions in assigned.items()},
        assignment=hash(
            tuple(sorted((name, tuple(sorted(p))) for name, p in described.members.items()))
        ),
        unassigned=frozenset(name for name, pairs in described.members.items() if not pairs),
    )
