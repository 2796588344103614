"""The facts about a subscription that its judgement uses, the same for all systems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple


class PartitionBacklog(NamedTuple):
    """One partition's share of a backlog."""

    name: str
    lag: int
    still: float | None = None
    """Seconds for which messages have waited and the position has not moved; None if unknown."""
    produced_rate: float | None = None
    """Messages a second; None if unknown."""


class Evidence(NamedTuple):
    """The facts of one poll. None means unknown or not applicable."""

    at: float
    """Monotonic time in seconds."""
    clock: float
    """The same time as Unix time."""
    lag: int | None
    """Also None while a partition of the subscription cannot be read."""
    age: float | None
    """Age of the oldest message not yet processed, in seconds."""
    commit_interval: float
    """Longest recent time between two commits, in seconds."""
    stop: float
    """Seconds after which the position counts as stopped."""
    consumed: int | None
    produced: int | None
    redelivered: int
    rewinds: int
    """Counters of messages consumed, messages produced, redeliveries, movements back."""
    consumed_rate: float | None
    produced_rate: float | None
    """Messages a second over the rate window."""
    consumers: int | None
    workers: int | None = None
    """The same, each counted once, if `consumers` counts one that reads several nodes for each."""
    deferred: int = 0
    """Messages that are held back for later delivery; the lag does not include them."""
    unreadable: int = 0
    """Partitions that cannot be read."""
    uncommitted: int | None = None
    """Messages on partitions that the group should read but has no committed offset for."""
    unassigned: int = 0
    """The part of `uncommitted` on partitions that are not assigned to a consumer."""
    unassigned_to: Sequence[str] = ()
    """Numbers of these partitions."""
    has_position: bool = True
    """Whether there is a committed offset; True if consumers of this system commit none."""
    had_position: bool = True
    """Whether there has ever been a committed offset."""
    past_end: int = 0
    """Messages by which committed offsets are past the log end."""
    is_rewound: bool = False
    """Whether an offset moved back and has not reached its earlier value yet."""
    repeated_for: float | None = None
    """Seconds for which consumers have committed an offset that lags again and again; None if they
    do not, or if it cannot be known."""
    usual_gap: float = 0.0
    """`commit_interval` if a gap was observed from its beginning to its end; else 0."""
    is_new: bool = False
    """Whether it was created while the exporter ran."""
    reads_elsewhere: bool = False
    """Whether the group has members, but none of them reads this destination."""
    members: int | None = None
    """Members of the group, whatever they read."""
    rebalancing: bool = False
    rebalancing_since: float | None = None
    """First poll that observed the present rebalance, on the clock of `at`."""
    rejoining: int | None = None
    """Upper bound on the number of members that the rebalance waits for."""
    rebalances: int = 0
    """Rebalances in the last `rebalanced_for` seconds."""
    rebalanced_for: float = 0.0
    rebalance_times: int = 0
    """The same, but rebalances close to each other count as one."""
    all_rebalances: int = 0
    """Counter of rebalances."""
    rebalance_pauses: bool = False
    """Whether all members stop while the group rebalances, as with an eager assignor."""
    in_flight: int | None = None
    """The part of the lag that consumers hold already; None if unknown."""
    size: float | None = None
    """Mean bytes of recent messages."""
    partitions: Callable[[], Sequence[PartitionBacklog]] = tuple
    """Returns the backlog by partition. Called only if there is a backlog."""
    max_consumers: int | None = None
    """How many consumers can share the work; None if unlimited."""
    paused: Sequence[str] = ()
    """Texts: what is paused on purpose."""
    alarms: Sequence[str] = ()
    """Texts: alarms of the broker that block publishers."""
    uncounted: bool = False
    """Whether consumers may process messages that the broker does not count in `consumed`."""
    activity: int = 0
    """If `uncounted`: a number that changes when messages are observed to leave."""
    least_consumed_rate: float | None = None
    """If `uncounted`: lower bound on the messages a second that left."""
    withheld: Callable[[], tuple[str, int] | None] = lambda: None
    """Returns where an open transaction holds messages back, and how many; None if it does not."""
