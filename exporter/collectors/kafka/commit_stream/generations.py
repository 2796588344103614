"""The generations of groups, from the records of their coordinators."""

from __future__ import annotations

from exporter.collectors.kafka.commit_stream.records import Generation
from exporter.model import Generations


class GenerationTable:
    """The generations since they were last taken, by group."""

    def __init__(self) -> None:
        self._found: dict[str, Generations | None] = {}

    def add(self, group: str, found: Generation) -> None:
        """Add a record."""
        known = self._found.get(group)
        if known is None:
            self._found[group] = Generations(found.number, found.is_empty, found.number, 0)
            return
        # The generation of a group without members is no rebalance. A number that went back is that
        # of a group that was deleted and is there again.
        rebalances = max(found.number - known.last - found.is_empty, 0)
        self._found[group] = known._replace(
            last=found.number, rebalances=known.rebalances + rebalances
        )

    def miss(self, group: str) -> None:
        """Note that the generation is unknown until the next record."""
        self._found[group] = None

    def take(self) -> dict[str, Generations | None]:
        """Return the generations since the last call."""
        found, self._found = self._found, {}
        return found
