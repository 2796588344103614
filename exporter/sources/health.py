"""Series about collecting itself: `mq_up`, `mq_collect_*`, `mq_node_up`, `mq_series`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from exporter.analysis.families import Family, family
from exporter.analysis.nodes import Labeler, Node
from exporter.model import REASONS
from exporter.sources.schedule import Outcome


def health_families(
    label: Labeler,
    outcomes: Mapping[str, Outcome],
    nodes: Mapping[str, Node],
    *,
    series: int,
    dropped: int,
    restarts: int = 0,
    probe_seconds: float | None = None,
) -> Sequence[Family]:
    """Return the series about how collecting goes. They exist from the first scrape on."""
    source = [label({})]
    reached = outcomes["backlog"].reached
    none_answers = not reached and outcomes["backlog"].reason == "unreachable"
    tasks = [label({"task": task}) for task in outcomes]
    runs = list(outcomes.values())
    return (
        Family("mq_up", source, [int(reached)]),
        Family(
            # One hanging node can make a whole poll fail: the others may still be up. If the
            # source is unreachable, no node answers.
            "mq_node_up",
            [node.label for node in nodes.values()],
            [int(node.up and not none_answers) for node in nodes.values()],
        ),
        Family("mq_collect_success", tasks, [int(run.success) for run in runs]),
        Family("mq_collect_duration_seconds", tasks, [run.duration for run in runs]),
        Family(
            "mq_collect_last_success_timestamp_seconds", tasks, [run.last_success for run in runs]
        ),
        Family(
            "mq_collect_failures_total",
            [label({"task": task, "reason": reason}) for task in outcomes for reason in REASONS],
            [run.failures.get(reason, 0) for run in runs for reason in REASONS],
        ),
        Family("mq_rows_unreadable_total", tasks, [run.unreadable for run in runs]),
        Family("mq_collector_restarts_total", source, [restarts]),
        family("mq_threshold_probe_seconds", source, [probe_seconds]),
        Family("mq_series", source, [series]),
        Family("mq_series_dropped", source, [dropped]),
    )
