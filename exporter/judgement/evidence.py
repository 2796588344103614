"""What a judgement of a subscription is made from: one look at it, whichever system it is of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple


class PartitionBacklog(NamedTuple):
    """One partition's share of a backlog."""

    name: str
    lag: int
    still: float | None = None
    """Seconds for which messages have waited there and its position has not moved; None where that is not known."""


class Evidence(NamedTuple):
    """One look. None is what is not known or does not apply."""

    at: float
    """On a clock that never goes back, in seconds."""
    clock: float
    """The same moment in Unix time."""
    lag: int | None
    """None, too, while a part of the subscription cannot be read."""
    age: float | None
    """Of the oldest message not yet processed, in seconds."""
    commit_interval: float
    stop: float
    """Seconds after which the position counts as stopped."""
    consumed: int | None
    produced: int | None
    redelivered: int
    rewinds: int
    """Counters: messages, messages, deliveries, movements back."""
    consumed_rate: float | None
    produced_rate: float | None
    """Messages a second over the rate window."""
    consumers: int | None
    deferred: int = 0
    """Messages beside the lag that are held back for later."""
    unreadable: int = 0
    """Partitions that cannot be read."""
    uncommitted: int | None = None
    """Messages on partitions that the group should read and has no position on."""
    unassigned: int = 0
    """Of these, messages on partitions that no consumer is assigned."""
    unassigned_to: Sequence[str] = ()
    """What these partitions are called."""
    has_position: bool = True
    """Whether there is a committed position at all, where consumers commit one."""
    had_position: bool = True
    """Whether one was ever seen."""
    past_end: int = 0
    """Messages by which positions are past the log's end."""
    is_rewound: bool = False
    """Whether a position went back and has not regained where it was."""
    read_by_nobody: bool = False
    """Whether the group has members, and none of them reads here."""
    members: int | None = None
    """Of the group, wherever they read."""
    rebalancing: bool = False
    rebalancing_since: float | None = None
    """First look, on the clock of `at`, at the rebalance that is under way."""
    rejoining: int | None = None
    """How many of the members it waits for at most."""
    rebalances: int = 0
    """Within the time that `rebalanced_for` says, in seconds."""
    rebalanced_for: float = 0.0
    rebalance_times: int = 0
    """In how many parts of that time."""
    size: float | None = None
    """Bytes of a message, of late."""
    partitions: Callable[[], Sequence[PartitionBacklog]] = tuple
    """What the backlog consists of. Asked for only if there is a backlog."""
    max_consumers: int | None = None
    """How many consumers can share the work; None where there is no limit."""
    paused: Sequence[str] = ()
    """What keeps messages from moving on purpose, in words."""
    alarms: Sequence[str] = ()
    """Of the broker, each of which blocks who publishes, in words."""
    uncounted: bool = False
    """Whether consumers may take messages that the broker does not count: `consumed` may stand still."""
    activity: int = 0
    """A number that changes when messages are seen to leave, where `uncounted`."""
    least_consumed_rate: float | None = None
    """Messages a second that left at the least, where `uncounted`."""
    withheld: Callable[[], tuple[str, int] | None] = lambda: None
    """Where an open transaction holds messages back, and how many."""
