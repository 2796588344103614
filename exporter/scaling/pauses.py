"""How long a group stops when its number of members changes, and whether a change is worth it.

With an eager assignor (range, round robin) all members stop until the last one has rejoined. With a
cooperative assignor or the consumer protocol (KIP-848) only the partitions that move stop.
"""

from __future__ import annotations

from exporter.scaling.load import Load

EAGER_SECONDS = 5.0
"""The pause of an eager group whose rebalances were not observed yet."""
COOPERATIVE_SECONDS = 0.5
"""The same if the others continue."""
LONGEST_SECONDS = 120.0
NEWEST = 0.3
"""Weight of the newest pause in the mean."""


class Pauses:
    """Learns the pause from the group's own rebalances."""

    __slots__ = ("_began", "_learned")

    def __init__(self) -> None:
        self._learned: float | None = None
        self._began: float | None = None

    def observe(self, load: Load) -> None:
        """Add one poll."""
        if load.rebalancing:
            if self._began is None:
                self._began = load.at
        elif self._began is not None:
            lasted = min(load.at - self._began, LONGEST_SECONDS)
            before = lasted if self._learned is None else self._learned
            self._learned = before + NEWEST * (lasted - before)
            self._began = None

    def seconds(self, load: Load) -> float:
        """Return how long consumption stops when the number of consumers changes."""
        if not load.pauses:
            return COOPERATIVE_SECONDS
        return EAGER_SECONDS if self._learned is None else self._learned

    def is_worth(self, load: Load, more: int, drain_time: float) -> bool:
        """Return whether `more` consumers process more within the drain time than the pause costs.

        All present consumers stop for the pause, and the new ones work for the rest of the time.
        """
        pause = self.seconds(load)
        return more * (drain_time - pause) > (load.consumers or 0) * pause
