"""Which tests run in the same process, when several run at the same time.

(The marks of `--dist loadgroup` have no effect with pytest 9.2 and pytest-xdist 3.8: the group is
written to an attribute that pytest no longer reads.)
"""

from __future__ import annotations

from pathlib import PurePath

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

TIMED_SCOPE = "timed"


def _files(*names: str) -> tuple[str, ...]:
    return tuple(f"test_{name}" for name in names)


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
LONG = _files(
    "kafka_faults",
    "rabbitmq_faults",
    "rabbitmq_truth",
    "kafka_commit_stream",
    "kafka_security",
    "kafka_probes",
    "alert_rules",
    "rabbitmq_odd",
    "support_kafka",
    "kafka_listing",
)
"""Files that take more than a minute and compute: they start early, so that none is left for the
end."""
WAITING = _files(
    "load",
    "kafka_addresses",
    "scaling",
    "kafka_other_groups",
    "kafka_login",
    "page_looks",
    "kafka_rotation",
    "liveness",
    "page_health",
    "page",
    "kafka_partial",
    "kafka_time",
    "rotation",
    "rabbitmq_protocols",
    "rabbitmq_streams",
    "kafka_truth",
    "page_detail",
    "server_hostile",
    "nsq_retries",
    "kafka_rebalances",
    "page_choices",
)
"""Files that wait most of their time, the longest first."""
ORDER = (TIMED_SCOPE, *LONG, "others", *WAITING)
COMPUTING = 2
"""Number of processes that run files in this order. Further ones begin with those that wait, because
two processors are busy with the first ones."""


def scope_of(nodeid: str) -> str:
    """Return what a test shares a process with: its file, or all timed files."""
    stem = PurePath(nodeid.partition("::")[0]).stem
    return TIMED_SCOPE if stem in TIMED else stem


def order_of(nodeid: str) -> int:
    """Return a number to sort tests by: timed and long files first, files that wait last."""
    scope = scope_of(nodeid)
    return ORDER.index(scope if scope in ORDER else "others")


class FileScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Gives each process whole files, so that their brokers start once."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        if int(node.gateway.id.removeprefix("gw")) >= COMPUTING:
            scope = next((each for each in self.workqueue if each in WAITING), None)
            if scope is not None:
                self.workqueue.move_to_end(scope, last=False)
        super()._assign_work_unit(node)
