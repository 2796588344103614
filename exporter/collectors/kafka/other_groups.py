"""The steps of a backlog poll for streams and share groups, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from confluent_kafka import KafkaException

from exporter.collectors.deadlines import Share
from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.errors import problem
from exporter.collectors.kafka.group_protocol_client import GroupProtocolClient, ShareOffsets
from exporter.collectors.kafka.hidden_groups import HiddenGroups
from exporter.collectors.kafka.offsets import Commits
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.collectors.kafka.share_positions import Ends, Settled, SharePositions
from exporter.model import (
    Deadline,
    GroupMembers,
    GroupState,
    HiddenKind,
    Log,
    LogBacklog,
    Memberships,
    Positions,
    Problem,
)

COMMITS_OF = "offsets of group "
"""Prefix of the subject of a problem with a group's commits."""
SHARE = 0.15
"""Fraction of the remaining time for each request: these connections are separate and may hang."""


@dataclass(frozen=True, slots=True)
class ShareAnswer:
    """The brokers' answers about share groups, and the log ends read before."""

    ends: Ends = field(default_factory=dict)
    offsets: ShareOffsets = field(default_factory=ShareOffsets)


class OtherGroups:
    """The streams and share groups of one cluster, across polls."""

    def __init__(
        self, settings: KafkaSettings, client: KafkaClient, allowed: Callable[[str], bool]
    ) -> None:
        self._client = client
        self._protocol_client = GroupProtocolClient(settings, client.properties, allowed)
        self._shares = SharePositions()
        self._hidden = HiddenGroups(settings.name)
        self._read: set[str] = set()
        """Streams and share groups whose positions have been read before."""

    # Steps of a backlog poll, in this order

    def find(self, nodes: Iterable[str], deadline: Deadline, *, whole: bool) -> Sequence[Problem]:
        """Ask the brokers at `nodes` for groups.

        `whole` means that librdkafka's list is complete.
        """
        return self._protocol_client.find(nodes, Share(deadline, SHARE), whole=whole)

    def states(self) -> dict[str, GroupState]:
        """Return the known groups with their states."""
        return {name: group.state for name, group in self._protocol_client.known.items()}

    def committing(self) -> dict[str, GroupState]:
        """Return the groups whose commits librdkafka reads: streams groups, and possible ones."""
        known = self._protocol_client.known
        streams = {name: known[name].state for name in self._protocol_client.of_kind("streams")}
        return {**dict.fromkeys(self._protocol_client.suspects, "unknown"), **streams}

    def ask(self, deadline: Deadline) -> ShareAnswer:
        """Read the offsets of the share groups."""
        groups = self._protocol_client.of_kind("share")
        if not groups:
            return ShareAnswer()
        if self._shares.lacks(groups):
            self._shares.learn(self._protocol_client.offsets(Share(deadline, SHARE)))
        ends = self._shares.ends_before(self._client, Share(deadline, SHARE))
        return ShareAnswer(ends, self._protocol_client.offsets(Share(deadline, SHARE)))

    def settle(self, asked: ShareAnswer, logs: Mapping[str, Log]) -> Settled:
        """Return the share groups' positions, using the log ends read last."""
        return self._shares.settle(asked.offsets, asked.ends, logs)

    def hide(self, commits: Commits, asked: ShareAnswer) -> Mapping[str, int]:
        """Remove groups from `commits` whose empty commits prove nothing.

        Return the number of groups that are not shown, by kind.
        """
        hidden: dict[HiddenKind, dict[str, str]] = {"share": {}, "streams": {}, "other": {}}
        for name in self._protocol_client.suspects:
            found = commits.positions.get(name)
            if found is not None and not found.offsets:
                # Without a commit it may be a share group, which never commits.
                del commits.positions[name]
                hidden["other"][name] = self._protocol_client.obstacle or ""
        for name in self._protocol_client.of_kind("share"):
            commits.positions.pop(name, None)
        why = _refusals(commits.problems)
        known = self._protocol_client.known
        self._read.intersection_update(known)
        self._read.update(name for name in known if name in commits.positions)
        self._read.update(asked.offsets.rows)
        for name, group in known.items():
            if name not in self._read:
                refused = asked.offsets.refused.get(name) or why.get(name)
                if refused is not None:
                    hidden[group.kind][name] = refused
        return self._hidden.count(hidden)

    # Other tasks

    def read_names(self, client: KafkaClient, deadline: Deadline) -> list[Problem]:
        """Read the names of these groups with librdkafka if brokers cannot be asked."""
        try:
            self._protocol_client.read_names(client, deadline)
        except KafkaException as error:
            return [problem("names of streams and share groups", error)]
        return []

    def describe(
        self,
        names: Sequence[str],
        others: Callable[[Sequence[str]], Memberships],
        wanted: Callable[[str], bool],
        deadline: Deadline,
    ) -> Memberships:
        """Describe groups of all kinds; `others` describes the usual ones."""
        known = self._protocol_client.known
        memberships = others([name for name in names if name not in known])
        chosen = [name for name in names if name in known]
        if not chosen:
            return memberships
        more = self._protocol_client.describe(chosen, wanted, deadline)
        return Memberships(
            {**memberships.groups, **more.groups}, (*memberships.problems, *more.problems)
        )

    def renew(self) -> None:
        """Ask again where secrets were refused. Any thread may call it."""
        self._protocol_client.renew()

    def close(self) -> None:
        """Close the connections."""
        self._protocol_client.close()


def at_oldest_records(backlog: LogBacklog, settled: Settled) -> LogBacklog:
    """Return the backlog with share groups at their oldest unprocessed records."""
    if not settled.oldest:
        return backlog
    return replace(backlog, positions={**backlog.positions, **settled.oldest})


def without_nonexistent(
    groups: Mapping[str, GroupMembers], positions: Mapping[str, Positions]
) -> dict[str, GroupMembers]:
    """Remove groups that do not exist, except if their commits were read and are empty.

    A group with commits exists as a group of another kind; its members are unknown.
    """
    return {
        name: members
        for name, members in groups.items()
        if members.state != "dead" or (name in positions and not positions[name].offsets)
    }


def _refusals(problems: Iterable[Problem]) -> dict[str, str]:
    """Return group name to error for commits that the user may not read."""
    return {
        problem.subject.removeprefix(COMMITS_OF): problem.message
        for problem in problems
        if problem.reason == "unauthorized" and problem.subject.startswith(COMMITS_OF)
    }
