"""Collectors that return fixed numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from exporter.collectors.process.hazards import Hazards
from exporter.model import (
    CollectError,
    Counts,
    Deadline,
    Depth,
    Finding,
    Log,
    LogBacklog,
    Observation,
    Place,
    Positions,
    QueueBacklog,
    Survey,
)
from tests.support.toy.settings import ToySettings

DEAD = "dead"
"""Address of a broker that does not answer."""
LAG = 1_500
PLACE = Place(None, "apples", "eaters", "north")


class ToyCollector:
    follows: Mapping[str, str] = {}

    def __init__(
        self, system: str, settings: ToySettings, backlog: Callable[[], Observation]
    ) -> None:
        self.system = system
        self._settings = settings
        self._backlog = backlog
        self.tasks: Mapping[str, Callable[[Deadline], Observation]] = {"backlog": self.backlog}

    def backlog(self, _: Deadline) -> Observation:
        if self._settings.address == DEAD:
            raise CollectError("unreachable", f"{self.system} at {DEAD} does not answer")
        return self._backlog()

    def check(self, _: Deadline) -> Sequence[Finding]:
        alive = self._settings.address != DEAD
        return [Finding(f"{self.system} answers", alive, self._settings.address, required=True)]

    def survey(self, _: Deadline, __: float) -> Survey:
        return Survey(frozenset(), frozenset(), ())

    def due_early(self, _: str) -> bool:
        return False

    def close(self) -> None:
        pass


def ledger() -> LogBacklog:
    """Two partitions of a log and one group: 1,500 messages wait in the second partition."""
    return LogBacklog(
        logs={"entries": Log(start=[0, 0], end=[10, 2_000], stable=[None, None])},
        positions={"readers": Positions("readers", {"entries": {0: 10, 1: 2_000 - LAG}})},
        states={"readers": "stable"},
        logs_complete=True,
        groups_complete=True,
        nodes={"ledger-1": True},
    )


def pile() -> QueueBacklog:
    """One partition of one queue, in which 1,500 messages wait."""
    return QueueBacklog(
        at=time.monotonic(),
        depths=[Depth(PLACE, LAG, unacknowledged=3)],
        counts=[Counts(PLACE, LAG, 2_000, 2_000 - LAG, 0, 1)],
        whole=frozenset({PLACE.partition}),
        destinations=frozenset({(PLACE.vhost, PLACE.destination, PLACE.partition)}),
        nodes={"pile-1": True},
    )


def ledger_collector(settings: ToySettings, _: Hazards) -> ToyCollector:
    return ToyCollector("ledger", settings, ledger)


def pile_collector(settings: ToySettings, _: Hazards) -> ToyCollector:
    return ToyCollector("pile", settings, pile)
