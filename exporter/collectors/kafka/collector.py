"""The tasks of one Kafka cluster, and the order of requests in each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import structlog

from exporter.collectors.deadlines import Share
from exporter.collectors.kafka.ages.finder import TimesFinder
from exporter.collectors.kafka.backlog import ATTEMPT_SHARE, LISTING_SHARE, BacklogReader
from exporter.collectors.kafka.check import check_source
from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.commit_stream.described import SETTLED
from exporter.collectors.kafka.filters import KafkaFilters
from exporter.collectors.kafka.group_lister import GroupLister
from exporter.collectors.kafka.groups import describe_groups
from exporter.collectors.kafka.login.mechanisms import KafkaLogin
from exporter.collectors.kafka.other_groups import (
    OtherGroups,
    without_nonexistent,
)
from exporter.collectors.kafka.probe.prober import Prober
from exporter.collectors.kafka.renewal import LEAST_SECONDS, Renewal
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.collectors.kafka.survey import survey_of
from exporter.collectors.kafka.topics import (
    TopicFacts,
    read_topology,
)
from exporter.collectors.process.hazards import Hazards
from exporter.model import (
    MEMBERLESS,
    CollectError,
    Deadline,
    Discovery,
    Finding,
    LogBacklog,
    LogTimes,
    Memberships,
    Observation,
    Probes,
    Survey,
)

WHOLE_AGAIN = 0.9
"""Fraction of the interval after which all groups are described, and not only changed ones."""

SURVEY_SHARE = 0.6
"""Fraction of the remaining time that each step of a survey may take."""


class KafkaCollector:
    """The tasks of one Kafka source.

    `backlog` reads topics, groups, commits and ends. `consumers` describes groups with members.
    `discovery` reads topic ids and cleanup policies. Each task runs in its own thread. Data passed
    between tasks is replaced as a whole, never changed in place.
    """

    system = "kafka"

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        name_partitions: bool = False,
        hazards: Hazards | None = None,
    ) -> None:
        """`name_partitions` requests offsets of named partitions, for clusters that require it."""
        self._settings = settings
        self._name_partitions = name_partitions
        login = KafkaLogin(settings)
        # One client per task: a task that replaces its client does not cancel requests of others.
        self._client = KafkaClient(settings.name, login.properties, hazards)
        self._members_client = KafkaClient(settings.name, login.properties, hazards)
        self._facts_client = KafkaClient(settings.name, login.properties)
        self._filters = KafkaFilters(settings)
        self._facts = TopicFacts(self._facts_client)
        self._prober = Prober(settings, login, administers=not name_partitions)
        if name_partitions:
            # These clusters do not support timestamp lookups either.
            settings = replace(settings, method="record")
        self._times_client = KafkaClient(settings.name, login.properties)
        self._times = TimesFinder(settings, self._times_client)
        self._clients = (
            self._client,
            self._members_client,
            self._facts_client,
            self._times_client,
        )
        self._log = structlog.get_logger(__name__).bind(source=settings.name)
        self._others = OtherGroups(settings, self._client, self._filters.group)
        self._group_lister = GroupLister(
            settings, self._filters, self._others, name_partitions=name_partitions
        )
        self._backlog = BacklogReader(
            settings,
            self._client,
            self._filters,
            self._facts,
            self._group_lister,
            self._others,
            self._prober,
            name_partitions=name_partitions,
        )
        self._described_at = -math.inf
        self._only: frozenset[str] = frozenset()
        self._renewal = Renewal(settings, self._renew_all)
        wrap = self._renewal.wrap
        self.tasks: Mapping[str, Callable[[Deadline], Observation]] = {
            "discovery": wrap(self.discovery),
            "backlog": wrap(self.backlog),
            "latency": wrap(self.latency),
            "consumers": wrap(self.consumers),
            "probe": wrap(self.probe),
        }
        self.follows = settings.FOLLOWS

    def due_early(self, task: str) -> bool:
        """Return whether the last poll of the backlog found work for this task."""
        backlog = self._backlog
        if task == "consumers" and backlog.changed:
            self._only, backlog.changed = backlog.changed, frozenset()
            return True
        if task == "discovery" and backlog.new_topics:
            backlog.new_topics = False
            return True
        return task == "probe" and self._prober.due_early()

    # Tasks

    def backlog(self, deadline: Deadline) -> LogBacklog:
        """Read topics, groups, commits, then log ends: in this order no lag can be negative."""
        self._client.drop_retired()
        self._renew()
        return self._backlog.read(deadline)

    def consumers(self, deadline: Deadline) -> Memberships:
        """Describe the groups that may have members; the others are listed as empty.

        A run ahead of schedule describes only the groups with a changed state.
        """
        self._members_client.drop_retired()
        states = dict(self._group_lister.known)
        if not states:
            # Raises with a cause if no broker answers; a group list would just be empty.
            attempt = deadline.remaining() * ATTEMPT_SHARE
            self._members_client.metadata(Share(deadline, 2 * LISTING_SHARE), attempt)
            listing = self._group_lister.begin(self._members_client, deadline)
            groups = self._group_lister.end(self._members_client, listing, deadline)
            if groups.problems and not groups.states:
                raise self._members_client.unanswered(groups.problems[0])
            states = dict(groups.states)
        only, self._only = self._only, frozenset()
        now = time.monotonic()
        whole = now - self._described_at > WHOLE_AGAIN * self._settings.consumers_interval
        if whole:
            self._described_at = now
        names = [
            name
            for name, state in states.items()
            if state not in MEMBERLESS and (whole or not only or name in only)
        ]
        # A rebalance writes no record before it ends.
        urgent = only.union(name for name in names if states[name] not in SETTLED)
        memberships = self._others.describe(
            names,
            lambda usual: self._describe_usual(usual, urgent, deadline),
            self._filters.topic,
            deadline,
        )
        self._members_client.drop_after(memberships.problems)
        tried = {name: states[name] for name in names}
        found = {name: group.state for name, group in memberships.groups.items()}
        before = self._backlog.described if only and not whole else {}
        self._backlog.described = {**before, **tried, **found}
        return memberships

    def discovery(self, deadline: Deadline) -> Discovery:
        """Read topic ids, which reveal recreated topics, and cleanup policies."""
        self._facts_client.drop_retired()
        topology = self._backlog.topology
        if topology is None:
            attempt = deadline.remaining() * ATTEMPT_SHARE
            metadata = self._facts_client.metadata(deadline, attempt)
            topology = read_topology(metadata, self._filters.topics)
        if self._name_partitions:
            return Discovery()
        problems = self._others.read_names(self._facts_client, deadline)
        names = list(topology.leaders)
        problems += self._facts.read_ids(names, deadline)
        problems += self._facts.read_policies(names, time.monotonic(), deadline)
        if topology.complete:
            self._facts.forget_all_but(topology.leaders)
        self._facts_client.drop_after(problems)
        return Discovery(self._facts.retention(), problems)

    def latency(self, deadline: Deadline) -> LogTimes:
        """Find the times of the positions read by the last poll of the backlog."""
        snapshot = self._backlog.snapshot
        if isinstance(snapshot, CollectError):
            raise CollectError(snapshot.reason, str(snapshot))
        self._times_client.drop_retired()
        # There may have been several polls of the backlog since the last poll of the times.
        backlog = replace(snapshot.backlog, recreated=self._backlog.recreated.drain())
        committed = self._backlog.commits.moved.take()
        snapshot = replace(snapshot, backlog=backlog, committed_at=committed.of)
        times = self._times.find(snapshot, deadline)
        self._times_client.drop_after(times.problems)
        return times

    def probe(self, deadline: Deadline) -> Probes:
        """Send a message to each broker, and receive it."""
        return self._prober.run(deadline)

    def check(self, deadline: Deadline) -> Sequence[Finding]:
        """Test each feature once."""
        self._renewal.check_files()
        findings = check_source(self._client, self._settings, deadline)
        connected = all(finding.ok for finding in findings if finding.feature == "connection")
        if not connected and deadline.remaining() > LEAST_SECONDS and self._renewal.check_files():
            findings = check_source(self._client, self._settings, deadline)
        return findings

    def survey(self, deadline: Deadline, seconds: float) -> Survey:
        """Return all names, and which groups have not moved for `seconds`."""
        backlog = self.backlog(Share(deadline, SURVEY_SHARE))
        members = self.consumers(Share(deadline, SURVEY_SHARE))
        topology = self._backlog.topology
        leaders = {} if topology is None else topology.leaders
        return survey_of(self._times_client, leaders, backlog, members, seconds, deadline)

    def close(self) -> None:
        """Delete the probes' groups, and close or drop all clients, within about a second.

        Dropped clients end when no task uses them any more.
        """
        self._prober.close()
        self._times.close()
        self._backlog.tails.close()
        self._backlog.commits.close()
        self._others.close()
        for client in self._clients:
            client.drop()

    def _describe_usual(
        self, names: Sequence[str], urgent: Collection[str], deadline: Deadline
    ) -> Memberships:
        """Describe groups that are not known to be streams or share groups.

        Those that have certainly not changed are left out, but the `urgent` ones never are.
        """
        described, now = self._backlog.commits.described, time.monotonic()
        changed = frozenset(described.due(names, now))
        due = [name for name in names if name in changed or name in urgent]
        described.begin(due, now)
        settled: set[str] = set()
        try:
            memberships = describe_groups(self._members_client, due, self._filters.topic, deadline)
            settled.update(n for n, each in memberships.groups.items() if each.state in SETTLED)
        finally:
            described.forget(name for name in due if name not in settled)
        if self._settings.group_names is None:
            return memberships
        snapshot = self._backlog.snapshot
        known = {} if isinstance(snapshot, CollectError) else snapshot.backlog.positions
        return replace(memberships, groups=without_nonexistent(memberships.groups, known))

    def _renew_all(self) -> None:
        """Replace all clients, with the current secrets. Any thread may call it."""
        for client in self._clients:
            client.renew()
        self._backlog.tails.close()
        self._backlog.commits.renew()
        self._times.close()
        self._others.renew()
        self._prober.renew()
        self._log.info("client.secrets_replaced")

    def _renew(self) -> None:
        topology = self._backlog.topology
        present = len(topology.leaders) if topology is not None else 0
        stray = self._filters.decided() - present - len(self._group_lister.known)
        if self._client.renew_if_due(stray):
            for client in self._clients[1:]:
                client.renew()
            self._backlog.tails.close()
            self._times.close()
            self._filters.forget()


def kafka_collector(settings: KafkaSettings, hazards: Hazards) -> KafkaCollector:
    """Return the collector of a source (`systems.System.collector`)."""
    return KafkaCollector(settings, hazards=hazards)
