"""The state of one consumer group: its members, its state, its rebalances."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, filterfalse
from typing import Final

from exporter.analysis.logs.topic import GONE_AFTER
from exporter.analysis.nodes import Labeler
from exporter.judgement.recent_events import RecentEvents
from exporter.model import (
    GROUP_STATES,
    MEMBERLESS,
    Generations,
    GroupMembers,
    GroupState,
    LogBacklog,
    Memberships,
)

REBALANCING: frozenset[GroupState] = frozenset({"preparing_rebalance", "completing_rebalance"})


class Group:
    """Follows one group from poll to poll.

    Rebalances are counted by the generations in the coordinator's records, once one was read. Until
    then, or without them, one is counted when the group's state changes to rebalancing, and when
    the assignment changed between two polls without a rebalance that was observed.
    """

    __slots__ = (
        "_counted",
        "_fingerprint",
        "_generation",
        "_is_due",
        "_rebalancing",
        "_settled",
        "assigned",
        "label",
        "members",
        "missing",
        "name",
        "pauses",
        "read_at",
        "readers",
        "rebalances",
        "rebalancing_since",
        "recent",
        "rejoining",
        "shared",
        "state",
        "state_labels",
        "subscribes",
        "told_at",
    )

    def __init__(self, name: str, label: str, state_labels: tuple[str, ...]) -> None:
        self.name: Final = name
        self.label: Final = label
        self.state_labels: Final = state_labels
        self.state: GroupState | None = None
        self.members: int | None = None
        self.readers: Mapping[str, int] | None = None
        """Destination to the number of members that read it; None if unknown."""
        self.assigned: Mapping[str, frozenset[int]] = {}
        self.rebalances = 0
        self.recent: Final = RecentEvents()
        """Recent rebalances. Updated when the group is judged."""
        self.missing = 0
        """Number of consecutive complete listings without this group."""
        self.read_at = 0.0
        self.told_at = 0.0
        """When its state changed, or its members were described."""
        self.rebalancing_since: float | None = None
        """First judged poll that observed the present rebalance."""
        self.rejoining: int | None = None
        """Upper bound on the number of members that this rebalance waits for; None if unknown."""
        self.pauses = False
        """Whether all members stop while it rebalances."""
        self.shared = False
        """Whether several members can read the same partition."""
        self.subscribes = False
        """Whether its present or last members subscribed to topics, not to single partitions."""
        self._settled: frozenset[str] = frozenset()
        self._rebalancing = False
        self._counted = False
        self._fingerprint: int | None = None
        self._generation: int | None = None
        """The last one in the coordinator's records; None if unknown."""
        self._is_due = False
        """Whether the first generation counts as a rebalance if the assignment has changed."""

    def observe_state(self, state: GroupState, now: float) -> None:
        """Set the state from a listing."""
        self.missing = 0
        self.read_at = now
        if state == self.state:
            return
        self.told_at = now
        self._move_to(state)
        if state in MEMBERLESS:
            self._empty()

    def observe_members(self, members: GroupMembers, now: float) -> None:
        """Set state, members and assignment from a description."""
        self.read_at = self.told_at = now
        self._move_to(members.state)
        if members.state in MEMBERLESS:
            self._empty()
            return
        self.members = len(members.members)
        self.pauses = members.pauses
        self._note_newcomers(members)
        if members.state in REBALANCING and (self.readers is not None or not members.readers):
            return
        self.readers = members.readers
        self.assigned = members.assigned
        if members.state in REBALANCING:
            return
        is_open = self._is_due if self._generation is not None else not self._counted
        if is_open and self._fingerprint not in (None, members.assignment):
            self.rebalances += 1
        self._fingerprint = members.assignment
        self._counted = self._is_due = False

    def observe_generations(self, found: Generations | None) -> None:
        """Count the rebalances since the last poll. None: they are unknown from now on."""
        before, self._generation = self._generation, None if found is None else found.last
        if found is None:
            return
        rebalances = found.rebalances
        if before is None:
            self._is_due, self._counted = not (self._counted or found.is_empty), False
        else:
            # A number that went back is that of a group that was deleted and is there again.
            rebalances += max(found.first - before - found.is_empty, 0)
        if rebalances:
            self.rebalances += rebalances
            self._is_due = False  # what the next description shows is counted

    def judged(self, now: float) -> None:
        """Note that a poll is judged at `now`. The duration of a rebalance counts from there."""
        if self._rebalancing and self.rebalancing_since is None:
            self.rebalancing_since = now

    def _note_newcomers(self, members: GroupMembers) -> None:
        """Separate members that the rebalance may wait for from those that joined since it began.

        The broker does not report who has rejoined. A member has just joined if it was not there
        before the rebalance and has no partition while the others still have theirs. Older brokers
        report no partitions during a rebalance.
        """
        if members.state not in REBALANCING:
            self._settled, self.rejoining = members.members, None
        elif self._settled and members.unassigned != members.members:
            self.rejoining = len(members.members - (members.unassigned - self._settled))

    def _move_to(self, state: GroupState) -> None:
        rebalancing = state in REBALANCING
        begins = rebalancing and not self._rebalancing and self.state is not None
        if begins and self._generation is None:
            self.rebalances += 1
            self._counted = True
        self._rebalancing = rebalancing
        if not rebalancing:
            self.rebalancing_since = self.rejoining = None
        self.state = state

    def _empty(self) -> None:
        self.members = 0
        self._settled = frozenset()
        self.readers = {}
        self.assigned = {}
        if self._fingerprint is not None:
            self._fingerprint = hash(())


def follow_groups(
    groups: dict[str, Group], backlog: LogBacklog, labeler: Labeler, now: float
) -> list[str]:
    """Update `groups` from a poll. Return the names of the groups that are gone."""
    _add_groups(groups, backlog, labeler, now)
    states, positions = backlog.states, backlog.positions
    gone: list[str] = []
    for name, group in groups.items():
        state = states.get(name)
        if state is not None:
            group.observe_state(state, now)
        elif name in positions:
            group.read_at = now
            if backlog.groups_complete:
                group.missing = 0
        elif backlog.groups_complete:
            group.missing += 1
            if group.missing >= GONE_AFTER:
                gone.append(name)
    for name in gone:
        del groups[name]
    for name, found in backlog.generations.items():
        if name in groups:
            groups[name].observe_generations(found)
    return gone


def _add_groups(
    groups: dict[str, Group], backlog: LogBacklog, labeler: Labeler, now: float
) -> None:
    """Add new groups, and what a poll says of a few groups only."""
    for name in filterfalse(groups.__contains__, chain(backlog.states, backlog.positions)):
        _known(groups, name, labeler)
    for name in backlog.shared:
        _known(groups, name, labeler).shared = True
    for name in backlog.subscribing:
        group = _known(groups, name, labeler)
        if not group.subscribes:
            group.subscribes, group.told_at = True, now


def describe_groups(
    groups: dict[str, Group], memberships: Memberships, labeler: Labeler, now: float
) -> None:
    """Update `groups` from descriptions. An unknown group that is dead is not added."""
    for name, members in memberships.groups.items():
        if name in groups or members.state != "dead":
            _known(groups, name, labeler).observe_members(members, now)


def _known(groups: dict[str, Group], name: str, labeler: Labeler) -> Group:
    """Return a group; add it if it is new."""
    group = groups.get(name)
    if group is None:
        states = tuple(labeler({"group": name, "state": state}) for state in GROUP_STATES)
        group = groups[name] = Group(name, labeler({"group": name}), states)
    return group
