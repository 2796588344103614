"""Tests which features a Kafka source supports with the rights that the user has."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import (
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import ConfigResource, OffsetSpec

from exporter.collectors.deadlines import Share
from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.errors import describe_right, kafka_error
from exporter.collectors.kafka.groups import Listing, describe_groups, named_listing, read_listing
from exporter.collectors.kafka.offsets import Ends, listed_offset, read_commits, read_ends
from exporter.collectors.kafka.other_findings import other_findings
from exporter.collectors.kafka.probe.layout import read_layout
from exporter.collectors.kafka.probe.topic import probe_findings
from exporter.collectors.kafka.record_reader import READER
from exporter.collectors.kafka.selection import Selection
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.collectors.kafka.topics import Topology, read_topology
from exporter.collectors.kafka.unaskable_names import ADVICE
from exporter.model import CollectError, Deadline, Finding, Memberships, Problem

ENDS_SHARE, LISTING_SHARE, COMMITS_SHARE, MEMBERS_SHARE = 0.35, 0.3, 0.35, 0.35
"""Parts of the time that is left which each step may take: a broker that hangs uses all of it."""
TRY_SHARE = 0.4
"""The same of what is tried once."""
LARGE_PART = 0.5
"""Part of the groups or partitions that, where it cannot be read, makes the check fail."""


def check_source(
    client: KafkaClient, settings: KafkaSettings, deadline: Deadline
) -> Sequence[Finding]:
    """Return a finding a feature; only the first where no broker can be reached.

    All groups and partitions are tried, as far as the time allows.
    """
    selection = Selection(settings)
    try:
        metadata = client.metadata(Share(deadline, 0.5), deadline.remaining() / 4)
    except CollectError as error:
        return [Finding("connection", ok=False, detail=str(error), required=True)]
    topology = read_topology(metadata, selection.topics)
    ends = read_ends(client, topology, Share(deadline, ENDS_SHARE))
    if ends.nobody_answered:
        fault = client.unreached(ends.problems[0])
        return [Finding("connection", ok=False, detail=str(fault), required=True)]
    hidden = len(metadata.topics) - len(topology.leaders)
    detail = f"{len(topology.nodes)} brokers, {len(topology.leaders)} topics ({hidden} excluded)"
    findings = [
        Finding("connection", ok=True, detail=detail, required=True),
        *_unreached(client, topology, ends),
    ]
    if not topology.leaders:
        findings.append(
            Finding(
                "topics",
                ok=False,
                detail="no topics are visible; give the user Describe on the topics, "
                "and check destinations.include and exclude",
                required=True,
            )
        )
    groups, found = _Groups(client, settings, selection, deadline).findings()
    once = _Once(client, ends, deadline)
    return [
        *findings,
        *found,
        _ends_finding(ends),
        _members_finding(client, groups, selection, Share(deadline, MEMBERS_SHARE)),
        once.tried("recreated topics", once.ids, "give the user Describe on the topics"),
        once.tried("compacted topics", once.policy, "give the user DescribeConfigs on the topics"),
        once.tried("ages", once.lookup, "give the user Describe on the topics"),
        once.tried(
            "exact ages, bounds, transaction markers",
            once.read,
            "give the user Read on the topics; without it, ages come from lookups by timestamp only",
        ),
        *other_findings(client, settings, selection.group, list(topology.nodes.values()), deadline),
        *probe_findings(client, settings, read_layout(metadata, settings.probe_topic), deadline),
    ]


def _unreached(client: KafkaClient, topology: Topology, ends: Ends) -> Iterable[Finding]:
    """Say which brokers could not be reached, where some could."""
    nodes = set(client.unreached_nodes()) | ends.silent
    if not nodes:
        return
    names = ", ".join(sorted(topology.nodes.get(node, str(node)) for node in nodes))
    told = f"no response from {names}; check that they are running, and check advertised.listeners"
    detail = next((each.message for each in client.explain(ends.problems)), told)
    yield Finding("brokers", ok=False, detail=detail, required=_is_large(nodes, topology.nodes))


def _is_large(missing: Iterable[Any], every: Iterable[Any]) -> bool:
    total = len(list(every))
    return total > 0 and len(list(missing)) >= LARGE_PART * total


# Groups


class _Groups:
    """Lists the groups, or takes those of the config, and reads what each has committed."""

    def __init__(
        self,
        client: KafkaClient,
        settings: KafkaSettings,
        selection: Selection,
        deadline: Deadline,
    ) -> None:
        self._client = client
        self._named = settings.group_names
        self._selection = selection
        self._deadline = deadline

    def findings(self) -> tuple[Sequence[str], Sequence[Finding]]:
        """Return the groups that can be read, and what to say of all of them."""
        listing, fault = self._listed()
        if self._named is not None:
            return self._by_name(named_listing(self._named), listing)
        if listing is None:
            return [], [Finding("groups", ok=False, detail=fault, required=True), _NO_POSITIONS]
        positions, _ = self._positions(listing.states)
        return list(listing.states), [
            _listing_finding(listing),
            *_hidden_findings(listing),
            positions,
        ]

    def _listed(self) -> tuple[Listing | None, str]:
        """Return the listing; None where there is no answer, and why."""
        part = Share(self._deadline, LISTING_SHARE)
        allowed = self._selection.group if self._named is None else (lambda _: True)
        try:
            future = self._client.admin.list_consumer_groups(
                request_timeout=self._client.seconds(part)
            )
            return self._client.read(
                future, part.remaining(), lambda result: read_listing(result, allowed)
            ), ""
        except KafkaException as error:
            return None, str(self._client.fault(error))

    def _by_name(
        self, named: Listing, listing: Listing | None
    ) -> tuple[Sequence[str], Sequence[Finding]]:
        positions, problems = self._positions(named.states)
        refused = [each for each in problems if each.reason == "unauthorized"]
        missing = _missing_names(named, listing, refused)
        if refused:
            detail = f"{refused[0].subject}: {refused[0].message}"
            finding = Finding("groups", ok=False, detail=detail, required=True)
        elif missing:
            required = _is_large(missing, named.states)
            finding = Finding("groups", ok=False, detail="; ".join(missing), required=required)
        else:
            detail = f"{len(named.states)} groups from groups.names"
            finding = Finding("groups", ok=True, detail=detail, required=True)
        unreadable = {each.subject for each in refused}
        names = [name for name in named.states if f"offsets of group {name}" not in unreadable]
        if refused and names:
            positions, _ = self._positions(dict.fromkeys(names, "unknown"))
        return names, [finding, *_hidden_findings(named), positions]

    def _positions(self, groups: Mapping[str, Any]) -> tuple[Finding, Sequence[Problem]]:
        if not groups:
            return Finding("positions (lag)", ok=True, detail=NOTHING), ()
        part = Share(self._deadline, COMMITS_SHARE)
        commits = read_commits(self._client, groups, self._selection.topics, part)
        counts = [
            sum(offset is not None for found in by_topic.values() for offset in found.values())
            for _, by_topic in commits.positions.values()
        ]
        showing = sum(1 for count in counts if count)
        failed = len(groups) - len(commits.positions)
        detail = f"{showing} groups have committed offsets on {sum(counts)} partitions"
        if showing < len(counts):
            # A broker leaves out the offsets on topics that the user may not see, without an error.
            detail += (
                f"; {len(counts) - showing} groups have none: they have never committed, "
                "or the user lacks Describe on their topics"
            )
        if not commits.problems and showing < LARGE_PART * len(counts):
            return Finding("positions (lag)", ok=False, detail=detail, required=True), ()
        return _partly(
            "positions (lag)", failed, len(groups), "groups", detail, commits.problems
        ), commits.problems


def _listing_finding(listing: Listing) -> Finding:
    if listing.problems:
        first = listing.problems[0]
        detail = (
            f"{first.subject}: {first.message}; the other brokers list {len(listing.states)} groups"
        )
        return Finding("groups", ok=False, detail=detail, required=True)
    if not listing.states and not listing.hidden:
        detail = (
            "no groups are visible; if groups exist, give the user Describe on the groups (or on the cluster), "
            "or list them in groups.names, and check groups.include and groups.exclude"
        )
        return Finding("groups", ok=False, detail=detail)
    return Finding("groups", ok=True, detail=f"{len(listing.states)} groups", required=True)


def _hidden_findings(listing: Listing) -> Iterable[Finding]:
    for kind, count in listing.hidden.items():
        required = count >= LARGE_PART * (len(listing.states) + sum(listing.hidden.values()))
        detail = f"{count} group{'s' if count > 1 else ''} cannot be read: {ADVICE[kind]}"
        yield Finding(
            f"groups with {kind.replace('_', ' ')}", ok=False, detail=detail, required=required
        )
    if listing.twice:
        names = ", ".join(sorted(map(repr, listing.twice))[:5])
        detail = (
            f"listed more than once: {names}; if this persists, another group has an id that starts with this name and "
            f"a NUL character, and that group cannot be read"
        )
        yield Finding("groups with unreadable id", ok=False, detail=detail)


def _missing_names(
    named: Listing, listing: Listing | None, refused: Sequence[Problem]
) -> list[str]:
    """Say which of the groups that the config names do not exist, with the nearest name that does."""
    if listing is None or not listing.complete:
        return []
    hidden = {each.subject for each in refused}
    told = []
    for name in named.states:
        if name in listing.states or f"offsets of group {name}" in hidden:
            continue
        near = difflib.get_close_matches(name, listing.states, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        told.append(f"group {name!r} does not exist{hint}")
    return told


# Features


NOTHING = "not tested, there is nothing to test it on"
_NO_POSITIONS = Finding("positions (lag)", ok=True, detail=NOTHING)


def _partly(
    feature: str,
    failed: int,
    total: int,
    things: str,
    good: str,
    problems: Sequence[Problem],
) -> Finding:
    """Return a finding of what was tried on many: it fails the check where a large part cannot be read."""
    if not failed and not problems:
        return Finding(feature, ok=True, detail=good, required=True)
    why = f", for example {problems[0].subject}: {problems[0].message}" if problems else ""
    detail = f"{failed} of {total} {things} cannot be read{why}"
    return Finding(feature, ok=False, detail=detail, required=failed >= LARGE_PART * total)


def _ends_finding(ends: Ends) -> Finding:
    every = [end for log in ends.logs.values() for end in log.end]
    if not every:
        return Finding("log ends (lag)", ok=True, detail=NOTHING)
    known = [end for end in every if end is not None]
    good = f"{len(known)} partitions, the highest log end offset is {max(known, default=0)}"
    failed = len(every) - len(known)
    return _partly("log ends (lag)", failed, len(every), "partitions", good, ends.problems)


def _members_finding(
    client: KafkaClient, groups: Sequence[str], selection: Selection, deadline: Deadline
) -> Finding:
    if not groups:
        return Finding("consumers", ok=True, detail=NOTHING)
    look: Memberships = describe_groups(client, groups, selection.topic, deadline)
    members = sum(len(group.members) for group in look.groups.values())
    finding = _partly(
        "consumers",
        len(groups) - len(look.groups),
        len(groups),
        "groups",
        f"{len(look.groups)} groups have {members} members",
        look.problems,
    )
    ok = not look.problems
    detail = f"{len(look.groups)} of {len(groups)} groups described, {members} members"
    return Finding("consumers", ok=ok, detail=detail if ok else finding.detail)


class _Once:
    """Tries features on one partition that answers."""

    def __init__(self, client: KafkaClient, ends: Ends, deadline: Deadline) -> None:
        self._client = client
        self._deadline = deadline
        self._partition = next(
            (
                TopicPartition(topic, partition)
                for topic, log in ends.logs.items()
                for partition, end in enumerate(log.end)
                if end is not None
            ),
            None,
        )

    def tried(
        self, feature: str, attempt: Callable[[TopicPartition, Deadline], str], right: str
    ) -> Finding:
        """Run the attempt, which returns what was seen; `right` is what to give the user where that is refused."""
        if self._partition is None:
            return Finding(feature, ok=True, detail=NOTHING)
        try:
            seen = attempt(self._partition, Share(self._deadline, TRY_SHARE))
        except CollectError as error:
            return Finding(feature, ok=False, detail=str(error))
        except KafkaException as error:
            inner = kafka_error(error)
            text = describe_right(inner, right) if inner is not None else str(error)
            return Finding(feature, ok=False, detail=text)
        return Finding(feature, ok=True, detail=seen)

    def lookup(self, partition: TopicPartition, deadline: Deadline) -> str:
        timeout = self._client.seconds(deadline)
        ((_, future),) = self._client.ask(
            [partition],
            lambda parts: self._client.admin.list_offsets(
                dict.fromkeys(parts, OffsetSpec.for_timestamp(0)), request_timeout=timeout
            ),
        )
        self._client.read(future, timeout, listed_offset)
        return "offsets can be looked up by timestamp"

    def ids(self, partition: TopicPartition, deadline: Deadline) -> str:
        timeout = self._client.seconds(deadline)
        ((_, future),) = self._client.ask(
            [partition.topic],
            lambda names: self._client.admin.describe_topics(
                TopicCollection(names), request_timeout=timeout
            ),
        )
        self._client.wait(future, timeout)
        return "recreated topics are detected by their topic ids"

    def policy(self, partition: TopicPartition, deadline: Deadline) -> str:
        timeout = self._client.seconds(deadline)
        ((_, future),) = self._client.ask(
            [partition.topic],
            lambda names: self._client.admin.describe_configs(
                [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names],
                request_timeout=timeout,
            ),
        )
        self._client.wait(future, timeout)
        return "cleanup policies can be read"

    def read(self, partition: TopicPartition, deadline: Deadline) -> str:
        consumer = Consumer({**self._client.properties(), **READER})
        try:
            consumer.assign([TopicPartition(partition.topic, partition.partition, OFFSET_END)])
            until = time.monotonic() + self._client.seconds(deadline)
            while time.monotonic() < until:
                message = consumer.poll(0.1)
                if message is None or message.topic() is None:
                    continue
                error = message.error()
                if error is not None and not _is_end(error):
                    raise KafkaException(error)
                return (
                    "records can be read: ages are exact or have an error bound, "
                    "and transaction markers are not counted as lag"
                )
        finally:
            consumer.close()
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def _is_end(error: Any) -> bool:
    return bool(error.code() == error._PARTITION_EOF)
