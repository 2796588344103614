"""What a judgement of a subscription is made from: one look at it, whichever system it is of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Sight(NamedTuple):
    """One look. None is what is not known or does not apply."""

    at: float
    """On a clock that never goes back, in seconds."""
    clock: float
    """The same moment in Unix time."""
    lag: int | None
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
    uncommitted: int | None = None
    """Messages in front of consumers that have no position yet."""
    behind_its_place: bool = False
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
    parts: Callable[[], Sequence[tuple[str, int]]] = tuple
    """What the backlog consists of: what each part is called, and its messages. Asked for where there is one."""
    places: int | None = None
    """How many consumers can share the work; None where there is no limit."""
    paused: Sequence[str] = ()
    """What keeps messages from moving on purpose, in words."""
    alarms: Sequence[str] = ()
    """Of the broker, each of which blocks who publishes, in words."""
    withheld: Callable[[], tuple[str, int] | None] = lambda: None
    """Where an open transaction holds messages back, and how many."""
