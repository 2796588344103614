"""Consumer groups, their states and their members."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import ConsumerGroupState, ConsumerGroupType, KafkaError, KafkaException

from exporter.collectors.kafka.client import OUTLIVE_SECONDS, KafkaClient
from exporter.collectors.kafka.errors import GONE, UNSUPPORTED, kafka_error, problem
from exporter.collectors.kafka.unsupported_group_ids import hidden_kind
from exporter.model import Deadline, GroupMembers, GroupState, HiddenKind, Memberships, Problem

STATES: Mapping[ConsumerGroupState, GroupState] = {
    ConsumerGroupState.UNKNOWN: "unknown",
    ConsumerGroupState.PREPARING_REBALANCING: "preparing_rebalance",
    ConsumerGroupState.COMPLETING_REBALANCING: "completing_rebalance",
    ConsumerGroupState.STABLE: "stable",
    ConsumerGroupState.DEAD: "dead",
    ConsumerGroupState.EMPTY: "empty",
}
NO_FAILURE = UNSUPPORTED | {KafkaError.TOPIC_AUTHORIZATION_FAILED}
"""Errors of descriptions that are no failure.

A consumer-protocol group may read a topic that the user has no right to see.
"""
UNPARSED = "the client library cannot parse what its members say of their assignment"
LEFT_OUT = (
    "the client library crashes when it parses what the group's members say of their assignment; "
    "the members are asked for again after an hour"
)
BATCH = 200
"""Groups per describe call."""


@dataclass(frozen=True, slots=True)
class GroupList:
    """Groups that brokers list, by name; a group listed by two brokers appears once."""

    states: Mapping[str, GroupState]
    problems: tuple[Problem, ...]
    hidden: Mapping[HiddenKind, int] = field(default_factory=dict)
    """Number of listed groups that cannot be requested."""
    twice: frozenset[str] = frozenset()
    """Names listed more than once."""
    complete: bool = True
    """Whether a group that is not listed does not exist."""
    subscribing: frozenset[str] = frozenset()
    """Groups without members whose last members were subscribed to topics."""


def parse_group_list(result: Any, allowed: Callable[[str], bool]) -> GroupList:
    """Parse the answer of `list_consumer_groups`; keep the groups for which `allowed` is True."""
    states: dict[str, GroupState] = {}
    hidden: Counter[HiddenKind] = Counter()
    twice: set[str] = set()
    subscribing: set[str] = set()
    for group in result.valid or ():
        name = group.group_id
        if not allowed(name):
            continue
        kind = hidden_kind(name)
        if kind is not None:
            hidden[kind] += 1
            continue
        if name in states:
            twice.add(name)
        state = STATES.get(group.state, "unknown")
        # While a coordinator moves, two brokers may list a group; the one with members is right.
        if states.get(name, "dead") in ("dead", "empty", "unknown"):
            states[name] = state
        if state == "empty" and not group.is_simple_consumer_group:
            subscribing.add(name)
    problems = tuple(problem("list of groups of a broker", error) for error in result.errors or ())
    return GroupList(
        states,
        problems,
        hidden,
        frozenset(twice),
        complete=not problems,
        subscribing=frozenset(subscribing),
    )


def named_groups(names: Iterable[str]) -> GroupList:
    """Return the groups named in the config, as if they were listed."""
    kinds = {name: hidden_kind(name) for name in names}
    hidden = Counter(kind for kind in kinds.values() if kind is not None)
    states: dict[str, GroupState] = {
        name: "unknown" for name, kind in kinds.items() if kind is None
    }
    return GroupList(states, (), hidden)


def describe_groups(
    client: KafkaClient, names: Iterable[str], wanted: Callable[[str], bool], deadline: Deadline
) -> Memberships:
    """Describe groups in batches until the deadline; `wanted` selects the topics."""
    groups: dict[str, GroupMembers] = {}
    problems: list[Problem] = []
    plan = client.hazards.plan(names, BATCH, time.monotonic())
    problems += [Problem("invalid", f"group {name}", LEFT_OUT) for name in plan.left_out]
    for number, batch in enumerate(plan.batches):
        if deadline.remaining() <= 0:
            left = sum(map(len, plan.batches[number:]))
            problems.append(Problem("timeout", "groups", f"no time left to describe {left} groups"))
            break
        with client.hazards.asking(batch):
            found, failed = _describe(client, batch, wanted, deadline)
        groups.update(found)
        problems += failed
    return Memberships(groups, tuple(problems))


def _describe(
    client: KafkaClient, batch: Sequence[str], wanted: Callable[[str], bool], deadline: Deadline
) -> tuple[dict[str, GroupMembers], list[Problem]]:
    groups: dict[str, GroupMembers] = {}
    problems: list[Problem] = []
    timeout = deadline.remaining() + OUTLIVE_SECONDS
    for name, future in client.ask(
        batch,
        lambda names: client.admin.describe_consumer_groups(names, request_timeout=timeout),
    ):
        try:
            groups[name] = client.read(
                future,
                deadline.remaining(),
                lambda description: _members(description, wanted),
                grace=0.0,
            )
        except KafkaException as error:
            inner = kafka_error(error)
            if inner is not None and inner.code() in GONE:
                groups[name] = GroupMembers("dead", frozenset(), {}, {}, 0)
            elif inner is not None and inner.code() == KafkaError._DESTROY:
                # The library raises this for an answer that it cannot parse; the client still
                # works.
                problems.append(Problem("invalid", f"group {name}", UNPARSED))
            elif inner is None or inner.code() not in NO_FAILURE:
                problems.append(problem(f"group {name}", error))
    return groups, problems


def _members(description: Any, wanted: Callable[[str], bool]) -> GroupMembers:
    readers: dict[str, int] = {}
    assigned: dict[str, set[int]] = {}
    who: list[tuple[str, tuple[tuple[str, int], ...]]] = []
    for member in description.members:
        pairs = [(tp.topic, tp.partition) for tp in member.assignment.topic_partitions]
        who.append((member.member_id, tuple(sorted(pairs))))
        topics = set()
        for topic, partition in pairs:
            if partition >= 0 and wanted(topic):
                topics.add(topic)
                assigned.setdefault(topic, set()).add(partition)
        for topic in topics:
            readers[topic] = readers.get(topic, 0) + 1
    return GroupMembers(
        state=STATES.get(description.state, "unknown"),
        members=frozenset(member for member, _ in who),
        readers=readers,
        assigned={topic: frozenset(partitions) for topic, partitions in assigned.items()},
        assignment=hash(tuple(sorted(who))),
        unassigned=frozenset(member for member, pairs in who if not pairs),
        pauses=_is_eager(description),
    )


def _is_eager(description: Any) -> bool:
    """Return whether members give up all partitions at a rebalance.

    Groups of the consumer protocol (KIP-848) and cooperative assignors move single partitions.
    """
    assignor = description.partition_assignor or ""
    classic = description.type == ConsumerGroupType.CLASSIC
    return classic and bool(assignor) and "cooperative" not in assignor
