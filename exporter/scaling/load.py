"""What the advisor knows of a subscription at one poll."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

Hold = Literal[
    "blind",
    "learning",
    "rebalancing",
    "retry_loop",
    "paused",
    "open_transaction",
    "large_messages",
    "prefetched",
    "saturated",
    "hot_partition",
    "single_consumer",
    "partitions",
    "maximum",
]
"""Why the advice does not follow the load."""
HOLDS: tuple[Hold, ...] = get_args(Hold)


class PartitionLoad(NamedTuple):
    """One partition: its backlog, and the rate at which messages are enqueued, if known."""

    name: str
    lag: int
    produced_rate: float | None = None


class Load(NamedTuple):
    """The facts of one poll. None is unknown."""

    at: float
    """Seconds on a clock that never goes back."""
    lag: int | None
    age: float | None
    """Seconds that the oldest unprocessed message has waited."""
    produced: int | None
    consumed: int | None
    """Counters of messages."""
    produced_rate: float | None
    consumed_rate: float | None
    """Messages a second over the rate window."""
    consumers: int | None
    max_consumers: int | None = None
    """How many consumers can share the work; None if there is no limit."""
    partitions: Callable[[], Sequence[PartitionLoad]] = tuple
    """Partitions, for systems in which one is read by one consumer. Called only if needed."""
    rebalances: int = 0
    """A counter that grows with each rebalance of the group."""
    rebalancing: bool = False
    in_flight: int | None = None
    """The part of the lag that consumers hold already; None if unknown."""
    pauses: bool = False
    """Whether all consumers stop while the group rebalances, as with an eager assignor."""
    blocked: Hold | None = None
    """A cause that more consumers do not cure."""
    lag_target: float | None = None
    """Messages that may wait; None if there is no such threshold."""
    age_target: float | None = None
    """Seconds that a message may wait; None if there is no such threshold."""
    commit_interval: float = 0.0
    """Longest recent time between two commits. The lag counts what was processed since the last
    one."""
    inputs: Sequence[tuple[float, float | None]] = ()
    """Further parts of the score: weight, and value divided by target; None if unknown."""

    @property
    def backlog(self) -> float:
        """The lag without what was processed since the last commit, at the present rate."""
        return max((self.lag or 0) - (self.consumed_rate or 0.0) * self.commit_interval, 0.0)

    @property
    def is_known(self) -> bool:
        """Whether the advice can be computed."""
        return None not in (self.lag, self.produced, self.consumed, self.consumers)
