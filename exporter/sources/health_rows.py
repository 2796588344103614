"""Nodes, probes and tasks of a source, for the JSON API and the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.analysis.nodes import Node
from exporter.analysis.probe_results import ProbedNode
from exporter.config import SourceConfig
from exporter.sources.display import Display
from exporter.sources.schedule import Outcome


def health_rows(
    outcomes: Mapping[str, Outcome], nodes: Mapping[str, Node], probed: Mapping[str, ProbedNode]
) -> dict[str, list[dict[str, Any]]]:
    """Return `nodes`, `probes` and `tasks`, JSON-ready.

    Other threads may change the mappings, so each is copied in one step.
    """
    reached = outcomes["backlog"].reached or outcomes["backlog"].reason != "unreachable"
    return {
        "nodes": [
            {"node": name, "up": node.up and reached} for name, node in sorted(dict(nodes).items())
        ],
        "probes": [
            {"node": name, "success": None if probe.resting else probe.success, **probe.counts}
            for name, probe in sorted(dict(probed).items())
        ],
        "tasks": [
            {
                "task": name,
                "success": outcome.success,
                "runs": outcome.runs,
                "reason": outcome.reason,
                "message": outcome.message,
                "duration_seconds": round(outcome.duration, 3),
                "last_success": round(outcome.last_success, 3),
            }
            for name, outcome in dict(outcomes).items()
        ],
    }


def status_row(
    config: SourceConfig, backlog: Outcome, display: Display, now: float
) -> dict[str, Any]:
    """Return the status of a source, JSON-ready. `backlog` is the outcome of that task."""
    observed = display.observed
    return {
        "system": config.system,
        "source": config.name,
        "up": backlog.reached,
        "reason": backlog.reason,
        "message": backlog.message,
        "age_seconds": None if observed is None else round(now - observed, 3),
        "series": display.series,
        "series_dropped": display.shown.dropped,
    }
