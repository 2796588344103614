"""Which tests run in the same process, when several run at the same time.

(The marks of `--dist loadgroup` have no effect with pytest 9.2 and pytest-xdist 3.8: the group is
written to an attribute that pytest no longer reads.)
"""

from __future__ import annotations

from pathlib import PurePath

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController


def _files(*names: str) -> frozenset[str]:
    return frozenset(f"test_{name}" for name in names)


TIMED = _files(
    "alert_scenarios",
    "alerting",
    "dashboards",
    "hardship",
    "kafka_latency",
    "kafka_time_scale",
    "queue_ages",
    "stack",
)
"""Files whose alerts, ages and rates need the machine: no two of them run at the same time."""
WAITING = (
    "scaling",
    "kafka_addresses",
    "load",
    "kafka_other_groups",
    "kafka_login",
    "kafka_time",
    "page",
    "page_detail",
    "page_looks",
    "page_health",
    "page_choices",
    "kafka_rotation",
    "liveness",
    "rotation",
    "kafka_partial",
    "rabbitmq_protocols",
    "rabbitmq_streams",
    "kafka_rebalances",
    "nsq_retries",
    "server_hostile",
)
"""Files that wait most of their time, the longest first: one of them runs beside two others on two
processors."""
TIMED_SCOPE = "timed"
COMPUTING = 2
"""Number of processes that run any file. Further ones begin with those that wait."""


def scope_of(nodeid: str) -> str:
    """Return what a test shares a process with: its file, or all timed files."""
    stem = PurePath(nodeid.partition("::")[0]).stem
    return TIMED_SCOPE if stem in TIMED else stem


def order_of(nodeid: str) -> int:
    """Return a number to sort tests by: timed files first, files that wait last."""
    scope = scope_of(nodeid).removeprefix("test_")
    if scope in WAITING:
        return 2 + WAITING.index(scope)
    return 0 if scope == TIMED_SCOPE else 1


def _waits(scope: str) -> bool:
    return scope.removeprefix("test_") in WAITING


class FileScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Gives each process whole files, so that their brokers start once."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        if int(node.gateway.id.removeprefix("gw")) >= COMPUTING:
            scope = next((each for each in self.workqueue if _waits(each)), None)
            if scope is not None:
                self.workqueue.move_to_end(scope, last=False)
        super()._assign_work_unit(node)
