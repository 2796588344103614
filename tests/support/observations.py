"""Shorthand for observations of a log source, and for the series of its state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from exporter.analysis.families import Shown, View
from exporter.analysis.logs.series import show
from exporter.analysis.logs.source_state import LogSourceState
from exporter.analysis.logs.state import LogState
from exporter.analysis.state import StateSettings
from exporter.model import GroupMembers, GroupState, Log, LogBacklog, Positions
from exporter.show.exposition import labeler

Offset = int | None
VIEW = View(hold=120.0, max_series=1_000_000, per_partition=True)


def state() -> LogSourceState:
    return LogSourceState(
        labeler({"system": "kafka", "source": "s"}), StateSettings(rate_window=60.0)
    )


def log(*spans: tuple[Offset, Offset], stable: Sequence[Offset] | None = None) -> Log:
    """Make a log from (start, end) of each partition."""
    ends = [end for _, end in spans]
    return Log([start for start, _ in spans], ends, ends if stable is None else stable)


def log_backlog(
    logs: Mapping[str, Log],
    commits: Mapping[str, Mapping[str, Mapping[int, Offset]]] | None = None,
    *,
    states: Mapping[str, GroupState] | None = None,
    **changes: object,
) -> LogBacklog:
    """Make a complete backlog. Groups are stable unless `states` differs."""
    commits = commits or {}
    backlog = LogBacklog(
        logs=logs,
        positions={group: Positions(group, offsets) for group, offsets in commits.items()},
        states=dict.fromkeys(commits, "stable") if states is None else states,
        logs_complete=True,
        groups_complete=True,
    )
    return replace(backlog, **changes)  # type: ignore[arg-type]


def members(
    assigned: Mapping[str, Sequence[int]],
    *,
    count: int = 1,
    state: GroupState = "stable",
    assignment: int = 1,
) -> GroupMembers:
    """Make a description of a group in which each member reads all destinations."""
    return GroupMembers(
        state=state,
        members=frozenset(f"m{index}" for index in range(count)),
        readers=dict.fromkeys(assigned, count),
        assigned={name: frozenset(partitions) for name, partitions in assigned.items()},
        assignment=assignment,
    )


class ShownValues:
    """The exposed values, by metric and labels."""

    def __init__(self, shown: Shown) -> None:
        self.shown = shown
        self.values = {
            (family.name, label): value
            for family in shown.families
            for label, value in zip(family.labels, family.values, strict=True)
        }

    def __call__(self, name: str, **labels: str) -> int | float | None:
        """Return the value of a series; None if there is no such series."""
        text = labeler({"system": "kafka", "source": "s"})(labels)
        return self.values.get((name, text))

    def names(self) -> set[str]:
        return {name for name, _ in self.values}


def shown_values(state: LogState, now: float, view: View = VIEW) -> ShownValues:
    return ShownValues(show(state, view, now))
