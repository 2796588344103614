"""Reads the backlog of a Kafka cluster.

The order is topics, groups, commits, then log ends: in this order no lag can be negative.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from confluent_kafka.admin import ClusterMetadata

from exporter.collectors.deadlines import Share
from exporter.collectors.kafka.ages.heads import BacklogSnapshot
from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.commit_stream.hybrid import HybridCommits
from exporter.collectors.kafka.empty_tails import Tails
from exporter.collectors.kafka.filters import KafkaFilters
from exporter.collectors.kafka.group_lister import GroupLister
from exporter.collectors.kafka.log_offsets import (
    below_start,
    lagging,
    not_past,
    open_transactions,
    went_back,
)
from exporter.collectors.kafka.offsets import Commits, Ends, read_commits, read_ends
from exporter.collectors.kafka.other_groups import OtherGroups, at_oldest_records
from exporter.collectors.kafka.probe.prober import Prober
from exporter.collectors.kafka.roster import read_roster
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.collectors.kafka.topics import (
    EmptyClusterCheck,
    TopicFacts,
    Topology,
    coordinators,
    read_topology,
    topic_rights,
)
from exporter.model import (
    MEMBERLESS,
    CollectError,
    Deadline,
    GroupState,
    Log,
    LogBacklog,
    Problem,
)

ATTEMPT_SHARE = 0.25
LISTING_SHARE = 0.3
COMMITS_SHARE = 0.65
"""Fractions of a run's time: deadlines of metadata's first attempt, group list and commits.

A broker that hangs costs each step its whole share, and must leave time for the next step.
"""
IDS_SHARE = 0.2
"""Fraction of a run's remaining time for the ids of topics that have most likely not changed."""


class NameHandover:
    """Passes names from one thread to another, each of them once."""

    def __init__(self) -> None:
        self._names: deque[str] = deque()

    def add(self, names: Iterable[str]) -> None:
        """Add names for the other thread."""
        self._names.extend(names)

    def drain(self) -> frozenset[str]:
        """Return and remove the names added since the last call."""
        return frozenset(self._names.popleft() for _ in range(len(self._names)))


class BacklogReader:
    """Reads the backlog in each run, and keeps the data that other tasks need."""

    def __init__(
        self,
        settings: KafkaSettings,
        client: KafkaClient,
        filters: KafkaFilters,
        facts: TopicFacts,
        group_lister: GroupLister,
        others: OtherGroups,
        prober: Prober,
        *,
        name_partitions: bool,
    ) -> None:
        self.snapshot: BacklogSnapshot | CollectError = CollectError(
            "unreachable", "the backlog was not read yet"
        )
        """The result of the last run, or why it failed."""
        self.recreated = NameHandover()
        """Deleted topics, whether recreated or not."""
        self.topology: Topology | None = None
        self.described: Mapping[str, GroupState] = {}
        """Group states when the groups were last described."""
        self.changed: frozenset[str] = frozenset()
        """Groups that should be described ahead of schedule."""
        self.new_topics = False
        """Whether there are topics that the discovery task has not read yet."""
        self.commits = HybridCommits(settings, client, filters)
        self.tails = Tails(client.properties, settings.name)
        self.ends: Mapping[str, Log] = {}
        self._settings = settings
        self._client = client
        self._filters = filters
        self._facts = facts
        self._group_lister = group_lister
        self._others = others
        self._prober = prober
        self._name_partitions = name_partitions
        self._empty_cluster = EmptyClusterCheck()
        self._present: frozenset[str] = frozenset()
        self._absent: frozenset[str] = frozenset()
        self._unread: frozenset[str] = frozenset()
        self._below: Mapping[tuple[str, str], int] = {}
        self._coordinators: Mapping[int, int] = {}

    def read(self, deadline: Deadline) -> LogBacklog:
        """Read topics, groups, commits, then log ends. Raises `CollectError`."""
        try:
            return self._read(deadline)
        except CollectError as error:
            self.snapshot = error
            self._prober.observe_failure(error)
            raise

    def _read(self, deadline: Deadline) -> LogBacklog:
        listing = self._group_lister.begin(self._client, Share(deadline, LISTING_SHARE))
        attempt = deadline.remaining() * ATTEMPT_SHARE
        metadata = self._client.metadata(Share(deadline, 2 * LISTING_SHARE), attempt)
        topology = read_topology(metadata, self._filters.topics)
        missing = self._empty_cluster.problem(metadata, self._present, time.monotonic())
        if missing is not None:
            topology = replace(topology, complete=False, problems=(missing,))
        self.topology = topology
        roster = read_roster(metadata, self._settings.probe_topic, time.monotonic())
        self._prober.observe(metadata, roster)
        unseen: tuple[Problem, ...] = ()
        if not self._name_partitions:
            unseen = topic_rights(self._client, metadata, Share(deadline, COMMITS_SHARE))
        groups = self._group_lister.read(self._client, metadata, topology.nodes, listing, deadline)
        self._follow_coordinators(metadata)
        unlisted_others: Sequence[Problem] = ()
        if not self._name_partitions:
            nodes = topology.nodes.values()
            unlisted_others = self._others.find(nodes, deadline, whole=groups.complete)
        names = {**groups.states, **self._others.committing()}
        commits = self._read_commits(names, topology, metadata, Share(deadline, COMMITS_SHARE))
        shares = self._others.ask(deadline)
        at = time.time()
        ends = read_ends(self._client, topology, deadline)
        if ends.nobody_answered:
            raise self._client.unanswered(_as_unreachable(ends.problems[0]))
        self._reread_overtaken(commits, ends, topology, deadline)
        problems = [
            *unseen,
            *topology.problems,
            *groups.problems,
            *unlisted_others,
            *commits.problems,
            *shares.offsets.problems,
            *ends.problems,
        ]
        not_shown = self._others.hide(commits, shares)
        settled = self._others.settle(shares, ends.logs)
        self._check_recreated(topology, ends, deadline, problems)
        problems[:0] = self._client.explain(problems)
        complete = topology.complete and not unseen
        newly_absent = self._note_absent(ends.logs, complete=complete)
        recreated = self._facts.pop_recreated()
        for topic in recreated:
            self.tails.forget(topic)
        self.tails.check_positions(
            ends.logs, commits.positions.values(), self._filters.reads_committed, deadline
        )
        states = {**groups.states, **self._others.states()}
        self._note_changes(states, topology)
        unreachable = self._client.unreachable_nodes()
        self._client.drop_after([*groups.problems, *commits.problems])
        news = self.commits.take_news()
        read_committed = frozenset(filter(self._filters.reads_committed, commits.positions))
        backlog = LogBacklog(
            logs=ends.logs,
            positions={**commits.positions, **settled.done},
            states=states if self._settings.group_names is None else {},
            logs_complete=complete,
            groups_complete=groups.complete and self._settings.group_names is None,
            read_committed=read_committed,
            drained=self.tails.drained(),
            gaps=self._facts.compacted() | self.tails.gaps | open_transactions(ends.logs),
            recreated=recreated,
            roster=roster,
            nodes={
                name: broker not in ends.silent and broker not in unreachable
                for broker, name in topology.nodes.items()
            },
            shared=frozenset(settled.done),
            subscribing=groups.subscribing,
            vague=settled.vague,
            groups_not_shown={**self._group_lister.hidden, **not_shown},
            commit_stream=self.commits.report(),
            spans=news.spans,
            generations=news.generations,
            repeated=lagging(news.repeated, commits.positions, ends.logs, read_committed),
            problems=problems,
        )
        self.snapshot = BacklogSnapshot(
            at_oldest_records(backlog, settled), topology.leaders, at, self._facts.compacted()
        )
        self.recreated.add([*recreated, *newly_absent])
        return backlog

    def _follow_coordinators(self, metadata: ClusterMetadata) -> None:
        """Replace the client if coordinators have moved.

        The client would ask the old coordinators. The process crashes if one of these answers that
        it is not the coordinator (librdkafka#5040).
        """
        now = coordinators(metadata)
        if any(
            now.get(partition, leader) != leader for partition, leader in self._coordinators.items()
        ):
            self._client.forget_coordinators()
        self._coordinators = now or self._coordinators

    def _read_commits(
        self,
        groups: Mapping[str, GroupState],
        topology: Topology,
        metadata: ClusterMetadata,
        deadline: Deadline,
    ) -> Commits:
        # Groups without an answer last time go last: a coordinator that hangs must not fill the
        # window.
        order = sorted(groups, key=self._unread.__contains__)
        if self._name_partitions:
            commits = self._ask_for_commits(order, topology, deadline)
        else:
            commits = self.commits.read(order, metadata, topology.leaders, deadline)
        self._unread = frozenset(groups).difference(commits.positions)
        return commits

    def _ask_for_commits(
        self, groups: Iterable[str], topology: Topology, deadline: Deadline
    ) -> Commits:
        named = None
        if self._name_partitions:
            named = [(t, p) for t, leaders in topology.leaders.items() for p in range(len(leaders))]
        return read_commits(self._client, groups, self._filters.topics, deadline, named=named)

    def _reread_overtaken(
        self, commits: Commits, ends: Ends, topology: Topology, deadline: Deadline
    ) -> None:
        """Read commits again that are newly below the log start.

        A group that deletes records after reading them may have committed and deleted after its
        commit was read. That is no loss.
        """
        below = below_start(commits.positions, ends.logs)
        overtaken = {
            group
            for (group, topic), count in below.items()
            if count > self._below.get((group, topic), 0)
        }
        if overtaken:
            again = self._ask_for_commits(overtaken, topology, deadline)
            for group, positions in again.positions.items():
                commits.positions[group] = not_past(positions, commits.positions[group], ends.logs)
            below = below_start(commits.positions, ends.logs)
        self._below = below

    def _check_recreated(
        self, topology: Topology, ends: Ends, deadline: Deadline, problems: list[Problem]
    ) -> None:
        """Read topic ids, so that a recreated topic is not mistaken for the deleted one.

        The ids of topics with offsets that went back are always read. The ids of other topics are
        read within a share of the remaining time.
        """
        before = self.ends
        suspects = [
            topic
            for topic, log in ends.logs.items()
            if topic in before and self._facts.known(topic) and went_back(before[topic], log)
        ]
        if suspects:
            problems += self._facts.read_ids(suspects, deadline)
        others = [t for t in ends.logs if self._facts.known(t) and t not in suspects]
        if others:
            # Failures here are reported by the discovery task.
            self._facts.read_ids(others, Share(deadline, IDS_SHARE))
        self.ends = {
            **{topic: log for topic, log in before.items() if topic in topology.leaders},
            **{topic: log for topic, log in ends.logs.items() if None not in log.end},
        }

    def _note_absent(self, present: Iterable[str], *, complete: bool) -> frozenset[str]:
        """Return the topics that are newly missing, and forget those missing twice in a row."""
        if not complete:
            return frozenset()
        self._facts.forget(self._absent.difference(present))
        self._absent, self._present = self._present.difference(present), frozenset(present)
        return self._absent

    def _note_changes(self, states: Mapping[str, GroupState], topology: Topology) -> None:
        """Store early work for other tasks, and drop data of deleted topics and groups."""
        described = self.described
        # They may have members again at the next poll, without a record in between.
        self.commits.described.forget(
            name
            for name, state in states.items()
            if state in MEMBERLESS and described.get(name, state) not in MEMBERLESS
        )
        self.changed = frozenset(
            name
            for name, state in states.items()
            if state not in MEMBERLESS
            and (name not in described or (state != "unknown" and described[name] != state))
        )
        self.new_topics = not self._name_partitions and not all(
            map(self._facts.known, topology.leaders)
        )
        self._group_lister.known = states
        if topology.complete:
            self.tails.forget_all_but(topology.leaders, states)


def _as_unreachable(problem: Problem) -> Problem:
    """Return the problem as `unreachable`, unless it is a missing right or a timeout.

    librdkafka reports a missing connection with many different error codes.
    """
    if problem.reason in ("unauthorized", "timeout"):
        return problem
    return replace(problem, reason="unreachable")
