"""Which state a source has, by its config."""

from __future__ import annotations

from exporter.analysis.log_state import LogState
from exporter.analysis.nodes import Labeler
from exporter.analysis.queue_state import Followed, QueueState
from exporter.analysis.sources import SourceState
from exporter.config import KafkaSource, NsqSource, Source
from exporter.names import NameMatcher


def new_state(config: Source, label: Labeler) -> SourceState:
    """Return an empty state for the source."""
    if isinstance(config, KafkaSource):
        return LogState(label, config.rate_window)
    state = QueueState(label, config.rate_window)
    _set_up(state, config)
    return state


def inherited(state: SourceState, config: Source) -> SourceState:
    """Return the state of the source before, told what the config says now."""
    state.set_rate_window(config.rate_window)
    state.reselect()
    if isinstance(state, QueueState):
        _set_up(state, config)
    return state


def _set_up(state: QueueState, config: Source) -> None:
    if isinstance(config, NsqSource):
        state.followed = Followed(config.latency.limit, NameMatcher(config.latency.groups).allows)
        chosen = config.timestamps.method
        state.wanted = None if chosen == "auto" else chosen
    else:
        state.followed = Followed(config.latency.limit)


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
