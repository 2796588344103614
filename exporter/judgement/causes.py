"""Why there is a backlog: the rules of all causes, in order.

Rules are ordered by how much they explain: an earlier cause also produces the symptoms that later
rules look for, so the first match is the likeliest. For example, consumers of a paused channel are
slow, and a group that keeps rebalancing has few consumers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from exporter.judgement import capacity, obstacles
from exporter.judgement.case import Case, Cause
from exporter.model import CauseName

RULES: tuple[tuple[CauseName, Callable[[Case], str | None]], ...] = (
    ("past_end", obstacles.past_end),
    ("paused", obstacles.paused),
    ("no_consumers", obstacles.no_consumers),
    ("open_transaction", obstacles.open_transaction),
    ("rebalancing", obstacles.rebalancing),
    ("unassigned_partitions", obstacles.unassigned_partitions),
    ("retry_loop", obstacles.retry_loop),
    ("uneven_partitions", obstacles.uneven_partitions),
    ("large_messages", capacity.large_messages),
    ("too_few_consumers", capacity.consumers_left),
    ("paused", obstacles.publishers_blocked),
    ("traffic_surge", capacity.traffic_surge),
    ("slow_consumers", capacity.slower_consumers),
    ("too_few_consumers", capacity.more_would_help),
    ("slow_consumers", capacity.none_helps),
)


def causes_of(case: Case) -> Sequence[Cause]:
    """Return the causes whose rules match, the likeliest first."""
    found: dict[CauseName, Cause] = {}
    for name, rule in RULES:
        if name not in found and (evidence := rule(case)) is not None:
            found[name] = Cause(name, evidence)
    return tuple(found.values())
