"""What a look at the backlog needs of streams and share groups, in the order in which it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from confluent_kafka import KafkaException

from exporter.collectors.deadlines import Share
from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.errors import problem
from exporter.collectors.kafka.group_asker import GroupAsker, ShareOffsets
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
"""How the subject of a problem with a group's commits begins."""
PART = 0.15
"""Part of the time that is left for each of the requests: they have connections of their own, which may hang."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the brokers said of share groups, and the ends that were read before."""

    ends: Ends = field(default_factory=dict)
    offsets: ShareOffsets = field(default_factory=ShareOffsets)


class OtherGroups:
    """The streams and share groups of one cluster, from look to look."""

    def __init__(
        self, settings: KafkaSettings, client: KafkaClient, allowed: Callable[[str], bool]
    ) -> None:
        self._client = client
        self._asker = GroupAsker(settings, client.properties, allowed)
        self._shares = SharePositions()
        self._hidden = HiddenGroups(settings.name)
        self._read: set[str] = set()
        """Groups of these kinds whose positions were read at some time."""

    # In this order, in a look at the backlog

    def find(self, nodes: Iterable[str], deadline: Deadline, *, whole: bool) -> Sequence[Problem]:
        """Ask the brokers at `nodes` which groups there are. `whole`: librdkafka's list is complete."""
        return self._asker.find(nodes, Share(deadline, PART), whole=whole)

    def states(self) -> dict[str, GroupState]:
        """Return the groups that are known, with their states."""
        return {name: group.state for name, group in self._asker.known.items()}

    def committing(self) -> dict[str, GroupState]:
        """Return the groups whose commits librdkafka has to read: streams groups, and those that may be."""
        known = self._asker.known
        streams = {name: known[name].state for name in self._asker.of_kind("streams")}
        return {**dict.fromkeys(self._asker.suspects, "unknown"), **streams}

    def ask(self, deadline: Deadline) -> Asked:
        """Ask where the share groups stand."""
        groups = self._asker.of_kind("share")
        if not groups:
            return Asked()
        if self._shares.lacks(groups):
            self._shares.learn(self._asker.offsets(Share(deadline, PART)))
        ends = self._shares.ends_before(self._client, Share(deadline, PART))
        return Asked(ends, self._asker.offsets(Share(deadline, PART)))

    def settle(self, asked: Asked, logs: Mapping[str, Log]) -> Settled:
        """Return the share groups' positions, by the ends of the logs that were read last."""
        return self._shares.settle(asked.offsets, asked.ends, logs)

    def hide(self, commits: Commits, asked: Asked) -> Mapping[str, int]:
        """Take out of `commits` what was not read but looks like no commits, and count groups that are not shown."""
        hidden: dict[HiddenKind, dict[str, str]] = {"share": {}, "streams": {}, "other": {}}
        for name in self._asker.suspects:
            found = commits.positions.get(name)
            if found is not None and not found.offsets:
                # Without a commit it may be a share group, which never has one.
                del commits.positions[name]
                hidden["other"][name] = self._asker.obstacle or ""
        for name in self._asker.of_kind("share"):
            commits.positions.pop(name, None)
        why = _refusals(commits.problems)
        known = self._asker.known
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

    def suspect(self, client: KafkaClient, deadline: Deadline) -> list[Problem]:
        """Read the names of these groups by librdkafka, where the brokers can't be asked otherwise."""
        try:
            self._asker.suspect(client, deadline)
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
        """Describe groups of all kinds; `others` describes those of the usual ones."""
        known = self._asker.known
        look = others([name for name in names if name not in known])
        chosen = [name for name in names if name in known]
        if not chosen:
            return look
        more = self._asker.describe(chosen, wanted, deadline)
        return Memberships({**look.groups, **more.groups}, (*look.problems, *more.problems))

    def renew(self) -> None:
        """Ask again where the secrets were refused. Any thread may call it."""
        self._asker.renew()

    def close(self) -> None:
        """End the connections."""
        self._asker.close()


def at_oldest_records(look: LogBacklog, settled: Settled) -> LogBacklog:
    """Return the look with the share groups at the oldest records that they are not done with."""
    if not settled.oldest:
        return look
    return replace(look, positions={**look.positions, **settled.oldest})


def without_strangers(
    groups: Mapping[str, GroupMembers], positions: Mapping[str, Positions]
) -> dict[str, GroupMembers]:
    """Leave out groups that don't exist for the usual request, unless their commits are known and there are none.

    A group that has commits exists, as one of another kind: who is in it is not known.
    """
    return {
        name: look
        for name, look in groups.items()
        if look.state != "dead" or (name in positions and not positions[name].offsets)
    }


def _refusals(problems: Iterable[Problem]) -> dict[str, str]:
    """Return why commits of groups may not be read, by the name in which a problem's subject ends."""
    return {
        problem.subject.removeprefix(COMMITS_OF): problem.message
        for problem in problems
        if problem.reason == "unauthorized" and problem.subject.startswith(COMMITS_OF)
    }
