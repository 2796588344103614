"""Makes the state of a source from its config."""

from __future__ import annotations

from exporter.analysis.logs.source_state import LogSourceState
from exporter.analysis.nodes import Labeler
from exporter.analysis.queues.source_state import QueueSourceState
from exporter.analysis.state import SourceState, StateSettings
from exporter.config import SourceConfig
from exporter.systems import SYSTEMS

KINDS: dict[str, type[LogSourceState | QueueSourceState]] = {
    "logs": LogSourceState,
    "queues": QueueSourceState,
}
"""By the kind of destinations that a system has."""


def new_state(config: SourceConfig, label: Labeler) -> SourceState:
    """Return an empty state for the source."""
    return KINDS[SYSTEMS[config.system].destinations](label, _settings(config))


def reconfigure(state: SourceState, config: SourceConfig) -> None:
    """Apply a changed config to the state of the replaced source."""
    state.configure(_settings(config))
    state.reselect()


def _settings(config: SourceConfig) -> StateSettings:
    return StateSettings(
        config.rate_window,
        config.latency.limit,
        config.latency.always,
        config.age_method,
        SYSTEMS[config.system].words,
    )


def same_place(before: SourceConfig, after: SourceConfig) -> bool:
    """Return whether counters can continue: same system, name and labels, and a common address."""
    same = (before.system, before.name, before.labels) == (after.system, after.name, after.labels)
    return same and not before.addresses.isdisjoint(after.addresses)
