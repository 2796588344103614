"""Which tests run in the same process, when several run at the same time.

(The marks of `--dist loadgroup` have no effect with pytest 9.2 and pytest-xdist 3.8: the group is
written to an attribute that pytest no longer reads.)
"""

from __future__ import annotations

from pathlib import PurePath

from xdist.scheduler import LoadScopeScheduling

TIMED = frozenset(
    f"test_{name}"
    for name in (
        "alert_scenarios",
        "alerting",
        "dashboards",
        "hardship",
        "kafka_latency",
        "kafka_time_scale",
        "load",
        "page",
        "page_choices",
        "page_detail",
        "page_health",
        "page_looks",
        "queue_ages",
        "stack",
    )
)
"""Files whose alerts, ages and rates need the machine: no two of them run at the same time."""
TIMED_SCOPE = "timed"


def scope_of(nodeid: str) -> str:
    """Return what a test shares a process with: its file, or all timed files."""
    stem = PurePath(nodeid.partition("::")[0]).stem
    return TIMED_SCOPE if stem in TIMED else stem


class FileScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Gives each process whole files, so that their brokers start once."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)
