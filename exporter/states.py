"""Which state a source has, by its config."""

from __future__ import annotations

from dataclasses import replace

from exporter.analysis.log_source_state import LogSourceState
from exporter.analysis.nodes import Labeler
from exporter.analysis.queue_source_state import QueueSourceState
from exporter.analysis.state import SourceState, StateSettings
from exporter.config import KafkaSource, NsqSource, Source
from exporter.names import NameMatcher


def new_state(config: Source, label: Labeler) -> SourceState:
    """Return an empty state for the source."""
    kind = LogSourceState if isinstance(config, KafkaSource) else QueueSourceState
    return kind.new(label, _settings(config))


def reconfigure(state: SourceState, config: Source) -> None:
    """Let the state of the source before go on as the config says now."""
    state.configure(_settings(config))
    state.reselect()


def _settings(config: Source) -> StateSettings:
    settings = StateSettings(config.rate_window, config.latency.limit)
    if not isinstance(config, NsqSource):
        return settings
    chosen = config.timestamps.method
    return replace(
        settings,
        latency_group=NameMatcher(config.latency.groups).allows,
        method=None if chosen == "auto" else chosen,
    )


def same_place(before: Source, after: Source) -> bool:
    """Tell whether the counters of one may go on in the other: the same brokers, shown under the same labels."""
    same = (before.system, before.name, before.labels) == (after.system, after.name, after.labels)
    return same and not _addresses(before).isdisjoint(_addresses(after))


def _addresses(config: Source) -> frozenset[str]:
    if isinstance(config, KafkaSource):
        return frozenset({config.bootstrap_servers})
    if isinstance(config, NsqSource):
        return frozenset({*config.nsqlookupd, *config.nsqd})
    return frozenset(config.management_url)
