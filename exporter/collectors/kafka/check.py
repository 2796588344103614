"""Tests which features a Kafka source supports with the rights that the user has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from exporter.collectors.deadlines import Share
from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.filters import KafkaFilters
from exporter.collectors.kafka.findings import NOTHING, finding_of_many, is_large
from exporter.collectors.kafka.group_findings import GroupFindings
from exporter.collectors.kafka.groups import describe_groups
from exporter.collectors.kafka.offsets import Ends, read_ends
from exporter.collectors.kafka.other_group_findings import other_group_findings
from exporter.collectors.kafka.probe.layout import read_layout
from exporter.collectors.kafka.probe.topic import probe_findings
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.collectors.kafka.topics import Topology, read_topology
from exporter.collectors.kafka.trials import Trials
from exporter.model import CollectError, Deadline, Finding, Memberships

ENDS_SHARE, MEMBERS_SHARE = 0.35, 0.35
"""Fraction of the remaining time that each step may take; a broker that hangs uses all of it."""


def check_source(
    client: KafkaClient, settings: KafkaSettings, deadline: Deadline
) -> Sequence[Finding]:
    """Return a finding per feature; only the first one if no broker can be reached.

    All groups and partitions are tested, as far as the time allows.
    """
    filters = KafkaFilters(settings)
    try:
        metadata = client.metadata(Share(deadline, 0.5), deadline.remaining() / 4)
    except CollectError as error:
        return [Finding("connection", ok=False, detail=str(error), required=True)]
    topology = read_topology(metadata, filters.topics)
    ends = read_ends(client, topology, Share(deadline, ENDS_SHARE))
    if ends.nobody_answered:
        fault = client.unanswered(ends.problems[0])
        return [Finding("connection", ok=False, detail=str(fault), required=True)]
    hidden = len(metadata.topics) - len(topology.leaders)
    detail = f"{len(topology.nodes)} brokers, {len(topology.leaders)} topics ({hidden} excluded)"
    findings = [
        Finding("connection", ok=True, detail=detail, required=True),
        *_unreachable_brokers(client, topology, ends),
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
    groups, found = GroupFindings(client, settings, filters, deadline).findings()
    trials = Trials(client, ends, deadline)
    return [
        *findings,
        *found,
        trials.offsets_topic(metadata, ends.silent, settings.offsets),
        _ends_finding(ends),
        _members_finding(client, groups, filters, Share(deadline, MEMBERS_SHARE)),
        trials.tried("recreated topics", trials.ids, "give the user Describe on the topics"),
        trials.tried(
            "compacted topics", trials.policy, "give the user DescribeConfigs on the topics"
        ),
        trials.tried("ages", trials.lookup, "give the user Describe on the topics"),
        trials.tried(
            "exact ages, bounds, transaction markers",
            trials.read,
            "give the user Read on the topics; without it, ages come from lookups by timestamp "
            "only",
        ),
        *other_group_findings(
            client, settings, filters.group, list(topology.nodes.values()), deadline
        ),
        *probe_findings(client, settings, read_layout(metadata, settings.probe_topic), deadline),
    ]


def _unreachable_brokers(client: KafkaClient, topology: Topology, ends: Ends) -> Iterable[Finding]:
    """Report which brokers cannot be reached if others can."""
    nodes = set(client.unreachable_nodes()) | ends.silent
    if not nodes:
        return
    names = ", ".join(sorted(topology.nodes.get(node, str(node)) for node in nodes))
    default = (
        f"no response from {names}; check that they are running, and check advertised.listeners"
    )
    detail = next((each.message for each in client.explain(ends.problems)), default)
    yield Finding("brokers", ok=False, detail=detail, required=is_large(nodes, topology.nodes))


def _ends_finding(ends: Ends) -> Finding:
    every = [end for log in ends.logs.values() for end in log.end]
    if not every:
        return Finding("log ends (lag)", ok=True, detail=NOTHING)
    known = [end for end in every if end is not None]
    good = f"{len(known)} partitions, the highest log end offset is {max(known, default=0)}"
    failed = len(every) - len(known)
    return finding_of_many("log ends (lag)", failed, len(every), "partitions", good, ends.problems)


def _members_finding(
    client: KafkaClient, groups: Sequence[str], filters: KafkaFilters, deadline: Deadline
) -> Finding:
    if not groups:
        return Finding("consumers", ok=True, detail=NOTHING)
    memberships: Memberships = describe_groups(client, groups, filters.topic, deadline)
    members = sum(len(group.members) for group in memberships.groups.values())
    finding = finding_of_many(
        "consumers",
        len(groups) - len(memberships.groups),
        len(groups),
        "groups",
        f"{len(memberships.groups)} groups have {members} members",
        memberships.problems,
    )
    ok = not memberships.problems
    detail = f"{len(memberships.groups)} of {len(groups)} groups described, {members} members"
    return Finding("consumers", ok=ok, detail=detail if ok else finding.detail)
