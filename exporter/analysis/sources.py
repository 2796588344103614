"""A source's state, whichever kind its destinations are: logs or queues."""

from __future__ import annotations

from typing import Any

from exporter.analysis.log_families import show
from exporter.analysis.log_state import LogState
from exporter.analysis.queue_families import show_queues
from exporter.analysis.queue_rows import queue_rows
from exporter.analysis.queue_state import QueueState
from exporter.analysis.rows import PLAIN, Named, Wanted, rows
from exporter.analysis.shown import Shown, View

SourceState = LogState | QueueState


def show_source(state: SourceState, view: View, now: float) -> Shown:
    """Return what the state shows at `now`."""
    if isinstance(state, QueueState):
        return show_queues(state, view, now)
    return show(state, view, now)


def source_rows(
    state: SourceState, source: Named, view: View, now: float, wanted: Wanted = PLAIN
) -> list[dict[str, Any]]:
    """Return a row for each subscription that is shown and wanted, JSON-ready."""
    if isinstance(state, QueueState):
        return queue_rows(state, source, view, now, wanted)
    return rows(state, source, view, now, wanted)
