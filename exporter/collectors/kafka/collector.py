"""Reads one Kafka cluster: which tasks there are, and in what order each asks."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import ClusterMetadata

from exporter.collectors.deadlines import Share
from exporter.collectors.kafka.ages.finder import Times
from exporter.collectors.kafka.ages.heads import Positions as SeenPositions
from exporter.collectors.kafka.check import check_source
from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.empty_tails import Tails
from exporter.collectors.kafka.groups import Listing, describe_groups, named_listing, read_listing
from exporter.collectors.kafka.login.mechanisms import Login
from exporter.collectors.kafka.offsets import Commits, Ends, read_commits, read_ends
from exporter.collectors.kafka.other_groups import (
    OtherGroups,
    at_oldest_records,
    without_strangers,
)
from exporter.collectors.kafka.probe.prober import Prober
from exporter.collectors.kafka.renewal import LEAST_SECONDS, Renewal
from exporter.collectors.kafka.roster import read_roster
from exporter.collectors.kafka.selection import Selection
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.collectors.kafka.topics import (
    TopicFacts,
    Topology,
    Vacancy,
    listing_problem,
    read_topology,
    sees_offsets_topic,
    topic_rights,
)
from exporter.collectors.kafka.unaskable_names import NotShown
from exporter.collectors.process.hazards import Hazards
from exporter.model import (
    NOBODY,
    CollectError,
    Deadline,
    Discovery,
    Finding,
    GroupState,
    Log,
    LogBacklog,
    LogTimes,
    Memberships,
    Observation,
    Positions,
    Probes,
    Problem,
)

ATTEMPT_SHARE = 0.25
LISTING_SHARE = 0.3
COMMITS_SHARE = 0.65
"""Parts of a run's time by which the metadata's first attempt, the listing and the commits must be done.

One broker that hangs costs each step its whole share, and must leave time for the next.
"""
CONFIRM_SHARE = 0.2
"""Part of what is left of a run's time for groups that are not listed any more."""
FIRST_LOOKS = 30.0
"""Seconds after the start in which a listing is not taken as complete where its completeness cannot be seen."""
IDS_SHARE = 0.2
"""Part of what is left of a run's time for the ids of topics that are most likely the same."""
WHOLE_AGAIN = 0.9
"""Part of the interval after which all groups are described, and not only those that changed."""


class Unseen:
    """Names that one thread finds and another one has to hear of, once."""

    def __init__(self) -> None:
        self._names: deque[str] = deque()

    def add(self, names: Iterable[str]) -> None:
        """Leave them for the other thread."""
        self._names.extend(names)

    def take(self) -> frozenset[str]:
        """Return what was left since the last time."""
        return frozenset(self._names.popleft() for _ in range(len(self._names)))


class KafkaCollector:
    """The tasks of one Kafka source.

    `backlog` reads topics, groups, commits and ends. `consumers` describes groups with members. `discovery` reads
    topic ids and clean-up policies. Each runs in a thread of its own; what one leaves for another is replaced whole.
    """

    system = "kafka"

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        name_partitions: bool = False,
        hazards: Hazards | None = None,
    ) -> None:
        """`name_partitions` asks for the offsets of each partition by name, for clusters that need that."""
        self._settings = settings
        self._name_partitions = name_partitions
        login = Login(settings)
        # A client a task, so that each can replace its own without taking another's answers away.
        self._client = KafkaClient(settings.name, login.properties, hazards)
        self._members_client = KafkaClient(settings.name, login.properties, hazards)
        self._facts_client = KafkaClient(settings.name, login.properties)
        self._selection = Selection(settings)
        self._facts = TopicFacts(self._facts_client)
        self._tails = Tails(self._client.properties, settings.name)
        self._prober = Prober(settings, login, administers=not name_partitions)
        if name_partitions:
            # Such a cluster knows no lookup by timestamp either.
            settings = replace(settings, method="record")
        self._times_client = KafkaClient(settings.name, login.properties)
        self._times = Times(settings, self._times_client)
        self._clients = (
            self._client,
            self._members_client,
            self._facts_client,
            self._times_client,
        )
        self._log = structlog.get_logger(__name__).bind(source=settings.name)
        self._seen: SeenPositions | CollectError = CollectError(
            "unreachable", "the backlog was not read yet"
        )
        self._recreated = Unseen()
        self._present: frozenset[str] = frozenset()
        self._absent: frozenset[str] = frozenset()
        self._vacancy = Vacancy()
        self._not_shown = NotShown(settings.name)
        self._hidden: Mapping[str, int] = {}
        self._born = time.monotonic()
        self._unlisted: Problem | None = None
        """Why the groups' listing before could not be whole: the listing is asked for before the metadata."""
        self._others = OtherGroups(settings, self._client, self._selection.group)
        self._topology: Topology | None = None
        self._states: Mapping[str, GroupState] = {}
        self._described: Mapping[str, GroupState] = {}
        self._described_at = -math.inf
        self._changed: frozenset[str] = frozenset()
        self._only: frozenset[str] = frozenset()
        self._unread: frozenset[str] = frozenset()
        self._ends: Mapping[str, Log] = {}
        self._below: Mapping[tuple[str, str], int] = {}
        self._new_topics = False
        self._renewal = Renewal(settings, self._renew_all)
        around = self._renewal.around
        self.tasks: Mapping[str, Callable[[Deadline], Observation]] = {
            "discovery": around(self.discovery),
            "backlog": around(self.backlog),
            "latency": around(self.latency),
            "consumers": around(self.consumers),
            "probe": around(self.probe),
        }
        self.follows = settings.FOLLOWS

    def due_early(self, task: str) -> bool:
        """Whether the last look at the backlog found something that the task should see to."""
        if task == "consumers" and self._changed:
            self._only, self._changed = self._changed, frozenset()
            return True
        if task == "discovery" and self._new_topics:
            self._new_topics = False
            return True
        return task == "probe" and self._prober.due_early()

    # Tasks

    def backlog(self, deadline: Deadline) -> LogBacklog:
        """Read topics, groups, then their commits, then the logs' ends: in this order no lag can be negative."""
        self._client.begin()
        try:
            return self._look(deadline)
        except CollectError as error:
            self._seen = error
            self._prober.miss(error)
            raise

    def _look(self, deadline: Deadline) -> LogBacklog:
        self._renew()
        listing = self._begin_listing(self._client, Share(deadline, LISTING_SHARE))
        attempt = deadline.remaining() * ATTEMPT_SHARE
        metadata = self._client.metadata(Share(deadline, 2 * LISTING_SHARE), attempt)
        topology = read_topology(metadata, self._selection.topics)
        missing = self._vacancy.problem(metadata, self._present, time.monotonic())
        if missing is not None:
            topology = replace(topology, complete=False, problems=(missing,))
        self._topology = topology
        roster = read_roster(metadata, self._settings.probe_topic, time.monotonic())
        self._prober.see(metadata, roster)
        unseen: tuple[Problem, ...] = ()
        if not self._name_partitions:
            unseen = topic_rights(self._client, metadata, Share(deadline, COMMITS_SHARE))
        groups = self._groups(metadata, topology, listing, deadline)
        unlisted_others: Sequence[Problem] = ()
        if not self._name_partitions:
            nodes = topology.nodes.values()
            unlisted_others = self._others.find(nodes, deadline, whole=groups.complete)
        names = {**groups.states, **self._others.committing()}
        commits = self._read_commits(names, topology, Share(deadline, COMMITS_SHARE))
        shares = self._others.ask(deadline)
        at = time.time()
        ends = read_ends(self._client, topology, deadline)
        if ends.nobody_answered:
            raise self._client.unreached(_as_unreachable(ends.problems[0]))
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
        self._suspect(topology, ends, deadline, problems)
        problems[:0] = self._client.explain(problems)
        complete = topology.complete and not unseen
        newly_absent = self._note_absent(ends.logs, complete=complete)
        recreated = self._facts.take_recreated()
        for topic in recreated:
            self._tails.forget(topic)
        self._tails.explore(
            ends.logs, commits.positions.values(), self._selection.reads_committed, deadline
        )
        states = {**groups.states, **self._others.states()}
        self._note_changes(states, topology)
        unreached = self._client.unreached_nodes()
        self._client.drop_after([*groups.problems, *commits.problems])
        look = LogBacklog(
            logs=ends.logs,
            positions={**commits.positions, **settled.done},
            states=states if self._settings.group_names is None else {},
            logs_complete=complete,
            groups_complete=groups.complete and self._settings.group_names is None,
            read_committed=frozenset(filter(self._selection.reads_committed, commits.positions)),
            drained=self._tails.drained(),
            gaps=self._facts.compacted() | self._tails.gaps | _open(ends.logs),
            recreated=recreated,
            roster=roster,
            nodes={
                name: broker not in ends.silent and broker not in unreached
                for broker, name in topology.nodes.items()
            },
            shared=frozenset(settled.done),
            subscribing=groups.subscribing,
            vague=settled.vague,
            groups_not_shown={**self._hidden, **not_shown},
            problems=problems,
        )
        self._seen = SeenPositions(
            at_oldest_records(look, settled), topology.leaders, at, self._facts.compacted()
        )
        self._recreated.add([*recreated, *newly_absent])
        return look

    def consumers(self, deadline: Deadline) -> Memberships:
        """Describe the groups that may have members; the others are known to be empty from their listing.

        A run before its time describes only the groups whose state changed.
        """
        self._members_client.begin()
        states = dict(self._states)
        if not states:
            # It says why, where no broker answers; a listing would be empty.
            attempt = deadline.remaining() * ATTEMPT_SHARE
            self._members_client.metadata(Share(deadline, 2 * LISTING_SHARE), attempt)
            listing = self._begin_listing(self._members_client, deadline)
            groups = self._end_listing(self._members_client, listing, deadline)
            if groups.problems and not groups.states:
                raise self._members_client.unreached(groups.problems[0])
            states = dict(groups.states)
        only, self._only = self._only, frozenset()
        now = time.monotonic()
        if now - self._described_at > WHOLE_AGAIN * self._settings.consumers_interval:
            only, self._described_at = frozenset(), now
        names = [
            name
            for name, state in states.items()
            if state not in NOBODY and (not only or name in only)
        ]
        look = self._others.describe(
            names,
            lambda usual: self._describe_usual(usual, deadline),
            self._selection.topic,
            deadline,
        )
        self._members_client.drop_after(look.problems)
        tried = {name: states[name] for name in names}
        found = {name: group.state for name, group in look.groups.items()}
        self._described = {**self._described, **tried, **found} if only else {**tried, **found}
        return look

    def discovery(self, deadline: Deadline) -> Discovery:
        """Read topic ids, by which a topic that was made anew is told, and clean-up policies."""
        self._facts_client.begin()
        topology = self._topology
        if topology is None:
            attempt = deadline.remaining() * ATTEMPT_SHARE
            metadata = self._facts_client.metadata(deadline, attempt)
            topology = read_topology(metadata, self._selection.topics)
        if self._name_partitions:
            return Discovery()
        problems = self._others.suspect(self._facts_client, deadline)
        names = list(topology.leaders)
        problems += self._facts.read_ids(names, deadline)
        problems += self._facts.read_policies(names, time.monotonic(), deadline)
        if topology.complete:
            self._facts.forget_all_but(topology.leaders)
        self._facts_client.drop_after(problems)
        return Discovery(self._facts.retention(), problems)

    def latency(self, deadline: Deadline) -> LogTimes:
        """Find the times of the positions that the last look at the backlog saw."""
        seen = self._seen
        if isinstance(seen, CollectError):
            raise CollectError(seen.reason, str(seen))
        self._times_client.begin()
        # Looks at the backlog may have come and gone since the last one at the time.
        backlog = replace(seen.backlog, recreated=self._recreated.take())
        look = self._times.look(replace(seen, backlog=backlog), deadline)
        self._times_client.drop_after(look.problems)
        return look

    def probe(self, deadline: Deadline) -> Probes:
        """Send a message to each broker, and receive it."""
        return self._prober.run(deadline)

    def check(self, deadline: Deadline) -> Sequence[Finding]:
        """Try each feature once."""
        self._renewal.look()
        findings = check_source(self._client, self._settings, deadline)
        connected = all(finding.ok for finding in findings if finding.feature == "connection")
        if not connected and deadline.remaining() > LEAST_SECONDS and self._renewal.look():
            findings = check_source(self._client, self._settings, deadline)
        return findings

    def close(self) -> None:
        """Leave nothing behind, within about a second, and let go of the connections.

        They end when no task uses them any more.
        """
        self._prober.close()
        self._times.close()
        self._tails.close()
        self._others.close()
        for client in self._clients:
            client.drop()

    def _describe_usual(self, names: Sequence[str], deadline: Deadline) -> Memberships:
        """Describe groups that are neither streams nor share groups, as far as that is known."""
        look = describe_groups(self._members_client, names, self._selection.topic, deadline)
        if self._settings.group_names is None:
            return look
        seen = self._seen
        known = {} if isinstance(seen, CollectError) else seen.backlog.positions
        return replace(look, groups=without_strangers(look.groups, known))

    # Steps of the backlog

    def _groups(
        self,
        metadata: ClusterMetadata,
        topology: Topology,
        listing: Future[Any] | None,
        deadline: Deadline,
    ) -> Listing:
        """Return the groups that there are, by the listing and what else tells."""
        unlisted = None if self._name_partitions else listing_problem(metadata)
        groups = self._end_listing(self._client, listing, deadline, unlisted or self._unlisted)
        self._unlisted = unlisted
        if not self._name_partitions and not sees_offsets_topic(metadata):
            groups = self._ask_for_missing(groups, Share(deadline, CONFIRM_SHARE))
        if not groups.problems:
            # Each broker has answered, whatever it leads.
            self._client.answered(topology.nodes)
            self._hidden = self._not_shown.count(groups.hidden, groups.twice)
        return groups

    def _renew_all(self) -> None:
        """Have all clients made again, with the secrets of now. Any thread may call it."""
        for client in self._clients:
            client.renew()
        self._tails.close()
        self._times.close()
        self._others.renew()
        self._prober.renew()
        self._log.info("client.secrets_replaced")

    def _renew(self) -> None:
        topology = self._topology
        present = len(topology.leaders) if topology is not None else 0
        stray = self._selection.seen() - present - len(self._states)
        if self._client.renew_if_due(stray):
            for client in self._clients[1:]:
                client.renew()
            self._tails.close()
            self._times.close()
            self._selection.forget()

    def _begin_listing(self, client: KafkaClient, deadline: Deadline) -> Future[Any] | None:
        if self._settings.group_names is not None:
            return None
        return client.admin.list_consumer_groups(request_timeout=client.seconds(deadline))

    def _end_listing(
        self,
        client: KafkaClient,
        listing: Future[Any] | None,
        deadline: Deadline,
        unlisted: Problem | None = None,
    ) -> Listing:
        """`unlisted` says why the listing can't be whole, where that is known."""
        if listing is None:
            return named_listing(self._settings.group_names or ())
        try:
            result = client.wait(listing, deadline.remaining())
        except KafkaException as error:
            raise client.fault(error) from None
        groups = read_listing(result, self._selection.group)
        if unlisted is not None:
            groups = replace(groups, problems=(*groups.problems, unlisted), complete=False)
        if not groups.complete:
            # What a silent broker does not list is read all the same: its groups may have moved.
            groups = replace(groups, states={**self._missing(groups), **groups.states})
        return groups

    def _missing(self, groups: Listing) -> dict[str, GroupState]:
        """Return the groups of the look before that are not listed now."""
        others = self._others.states()
        return {
            name: state
            for name, state in self._states.items()
            if name not in groups.states and name not in others
        }

    def _ask_for_missing(self, groups: Listing, deadline: Deadline) -> Listing:
        """Ask by name for groups that are not listed any more, where nothing else tells whether all are listed.

        A coordinator says of a deleted group that it does not exist. It says nothing while its partition has no leader,
        which is when a listing lacks groups without an error. A collector that has just started does not know which groups
        to ask for, so that its listings are not complete for a while.
        """
        young = time.monotonic() - self._born < FIRST_LOOKS
        missing = self._missing(groups)
        look = describe_groups(self._client, missing, lambda _: False, deadline)
        refused = {each.subject for each in look.problems if each.reason == "unauthorized"}
        kept = {
            name: state
            for name, state in missing.items()
            if f"group {name}" not in refused
            and (name not in look.groups or look.groups[name].state != "dead")
        }
        unsure = [each for each in look.problems if each.reason != "unauthorized"]
        problems = groups.problems
        if unsure:
            message = (
                f"{len(kept)} groups are not listed any more and cannot be asked for, such as "
            )
            message += f"{unsure[0].subject}: {unsure[0].message}"
            problems += (Problem(unsure[0].reason, "list of groups", message),)
        return replace(
            groups,
            states={**groups.states, **kept},
            problems=problems,
            complete=groups.complete and not unsure and not young,
        )

    def _read_commits(
        self, groups: Mapping[str, GroupState], topology: Topology, deadline: Deadline
    ) -> Commits:
        named = None
        if self._name_partitions:
            named = [(t, p) for t, leaders in topology.leaders.items() for p in range(len(leaders))]
        # What was not read last time comes last: a coordinator that hangs must not use up the window.
        order = sorted(groups, key=self._unread.__contains__)
        commits = read_commits(self._client, order, self._selection.topics, deadline, named=named)
        self._unread = frozenset(groups).difference(commits.positions)
        return commits

    def _reread_overtaken(
        self, commits: Commits, ends: Ends, topology: Topology, deadline: Deadline
    ) -> None:
        """Read again the commits that newly stand below the log start.

        A group that deletes what it has read may have committed and deleted after its commit was read; that is no loss.
        """
        below = _below_start(commits.positions, ends.logs)
        overtaken = {
            group
            for (group, topic), count in below.items()
            if count > self._below.get((group, topic), 0)
        }
        if overtaken:
            again = self._read_commits(dict.fromkeys(overtaken, "unknown"), topology, deadline)
            for group, positions in again.positions.items():
                commits.positions[group] = _not_past(positions, commits.positions[group], ends.logs)
            below = _below_start(commits.positions, ends.logs)
        self._below = below

    def _suspect(
        self, topology: Topology, ends: Ends, deadline: Deadline, problems: list[Problem]
    ) -> None:
        """Read the ids of the topics: one that was made anew must not be taken for the old one, whatever its offsets.

        Where its offsets went back that has to be known; elsewhere it is looked for in the time that it takes as a rule.
        """
        before = self._ends
        suspects = [
            topic
            for topic, log in ends.logs.items()
            if topic in before and self._facts.known(topic) and _went_back(before[topic], log)
        ]
        if suspects:
            problems += self._facts.read_ids(suspects, deadline)
        others = [t for t in ends.logs if self._facts.known(t) and t not in suspects]
        if others:
            # What fails here, the discovery tells of.
            self._facts.read_ids(others, Share(deadline, IDS_SHARE))
        self._ends = {
            **{topic: log for topic, log in before.items() if topic in topology.leaders},
            **{topic: log for topic, log in ends.logs.items() if None not in log.end},
        }

    def _note_absent(self, present: Iterable[str], *, complete: bool) -> frozenset[str]:
        """Return the topics that this listing lacks and the one before had; those that two lack are forgotten."""
        if not complete:
            return frozenset()
        self._facts.forget(self._absent.difference(present))
        self._absent, self._present = self._present.difference(present), frozenset(present)
        return self._absent

    def _note_changes(self, states: Mapping[str, GroupState], topology: Topology) -> None:
        """Remember what the other tasks should see to before their time, and drop what is gone."""
        described = self._described
        self._changed = frozenset(
            name
            for name, state in states.items()
            if state not in NOBODY
            and (name not in described or (state != "unknown" and described[name] != state))
        )
        self._new_topics = not self._name_partitions and not all(
            map(self._facts.known, topology.leaders)
        )
        self._states = states
        if topology.complete:
            self._tails.forget_all_but(topology.leaders, states)


def _as_unreachable(problem: Problem) -> Problem:
    """Return the problem of a look in which nothing could be read; the library has many words for no connection."""
    if problem.reason in ("unauthorized", "timeout"):
        return problem
    return replace(problem, reason="unreachable")


def _open(logs: Mapping[str, Log]) -> set[str]:
    """Topics with an open transaction: their offsets will hold markers."""
    return {
        topic
        for topic, log in logs.items()
        if any(
            stable is not None and end is not None and stable < end
            for stable, end in zip(log.stable, log.end, strict=True)
        )
    }


def _went_back(before: Log, now: Log) -> bool:
    return len(now.end) < len(before.end) or any(
        old is not None and new is not None and new < old
        for olds, news in ((before.end, now.end), (before.start, now.start))
        for old, new in zip(olds, news, strict=False)
    )


def _below_start(
    positions: Mapping[str, Positions], logs: Mapping[str, Log]
) -> dict[tuple[str, str], int]:
    """Count, by group and topic, the committed offsets that the log no longer has."""
    below = {}
    for group, (_, by_topic) in positions.items():
        for topic, offsets in by_topic.items():
            log = logs.get(topic)
            if log is None:
                continue
            starts = log.start
            known = len(starts)
            count = sum(
                1
                for partition, position in offsets.items()
                if position is not None
                and partition < known
                and (start := starts[partition]) is not None
                and position < start
            )
            if count:
                below[group, topic] = count
    return below


def _not_past(again: Positions, first: Positions, logs: Mapping[str, Log]) -> Positions:
    """Take the later commits, but none that is past an end which was read before it."""
    merged: dict[str, dict[int, int | None]] = {
        topic: dict(offsets) for topic, offsets in first.offsets.items()
    }
    for topic, offsets in again.offsets.items():
        log = logs.get(topic)
        for partition, position in offsets.items():
            end = log.end[partition] if log is not None and partition < len(log.end) else None
            if position is not None and end is not None:
                position = min(position, end)  # noqa: PLW2901 - the later commit, cut at the end
            merged.setdefault(topic, {})[partition] = position
    return Positions(again.group, merged)


def kafka_collector(settings: KafkaSettings, hazards: Hazards) -> KafkaCollector:
    """Return the collector of a source (`systems.System.collector`)."""
    return KafkaCollector(settings, hazards=hazards)
