"""The fixed sets of names that metrics, JSON and logs use as values."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

Reason = Literal["timeout", "unreachable", "unauthorized", "partial", "invalid", "internal"]
"""Why a task failed or returned incomplete data."""
REASONS: tuple[Reason, ...] = get_args(Reason)
GroupState = Literal[
    "unknown", "preparing_rebalance", "completing_rebalance", "stable", "dead", "empty"
]
GROUP_STATES: tuple[GroupState, ...] = get_args(GroupState)
MEMBERLESS: frozenset[GroupState] = frozenset({"empty", "dead"})
"""States of a group without members."""
Method = Literal["time_index", "record", "head", "percentile", "estimate"]
"""How an age was determined."""
Stage = Literal["publish", "receive", "ack"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""Timed stages of a probe: the broker's acknowledgement, the receipt, the commit."""
ProbeResult = Literal["sent", "received", "lost", "failed"]
PROBE_RESULTS: tuple[ProbeResult, ...] = get_args(ProbeResult)
TimestampAnomaly = Literal["future", "missing", "unreadable"]
TIMESTAMP_ANOMALIES: tuple[TimestampAnomaly, ...] = get_args(TimestampAnomaly)
Status = Literal[
    "unknown",
    "uncommitted",
    "past_end",
    "rewound",
    "dormant",
    "abandoned",
    "stopped",
    "stalled",
    "lagging",
    "falling_behind",
    "retry_loop",
    "ok",
]
STATUSES: tuple[Status, ...] = get_args(Status)
"""Statuses of a subscription."""
CauseName = Literal[
    "past_end",
    "paused",
    "no_consumers",
    "open_transaction",
    "rebalancing",
    "unassigned_partitions",
    "retry_loop",
    "uneven_partitions",
    "large_messages",
    "too_few_consumers",
    "traffic_surge",
    "slow_consumers",
]
"""Causes of a backlog."""
HiddenKind = Literal["share", "streams", "other", "empty_id", "unreadable_id"]
HIDDEN_KINDS: tuple[HiddenKind, ...] = get_args(HiddenKind)
"""Kinds of groups that cannot be read. `other` is a share or a streams group, unknown which."""

FOREVER = 100 * 365 * 86_400.0
"""A forecast of more seconds means never: it comes from rates that are zero but for rounding."""


class Words(NamedTuple):
    """The terms that a system's users know, for texts about a source of that system."""

    part: str = "partition"
    """A partition of a destination."""
    parts: str | None = None
    """The plural; None appends an s."""
    paused_destination: str = "the destination"
    """What is paused if no group gets messages of the destination."""
    paused_group: str = "the group, or its destination,"
    """What is paused if one group gets no messages."""


COMMON_WORDS = Words()
