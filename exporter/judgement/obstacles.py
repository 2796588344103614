"""Rules for causes that keep messages from being processed: nobody reads, a pause, a retry loop, some partitions.

A rule returns its evidence as text, or None if it does not apply.
"""

from __future__ import annotations

from collections.abc import Sequence

from exporter.judgement import words
from exporter.judgement.case import Case
from exporter.judgement.evidence import PartitionBacklog
from exporter.judgement.repeats import LEAST_REPEATS, MOST
from exporter.judgement.status_reason import past_end as past_end_evidence

UNEVEN, UNEVEN_OF_FEW = 0.8, 0.9
"""Part of the backlog that a few parts hold: a quarter of them, or one of two or three."""
FEW = 4
RESTLESS = 3
"""Rebalances, or moves back, each at a time of its own, that make it no accident."""
STUCK_SECONDS = 15.0
"""A rebalance that has been seen for so long waits for a member that does not come."""
NAMED = 3
"""Partitions that a text names."""
BLOCKED = "no message is processed until they do"
"""The end of a sentence about members that have to rejoin."""


def past_end(case: Case) -> str | None:
    """A position is past the log's end."""
    return past_end_evidence(case.evidence) if case.evidence.past_end else None


def paused(case: Case) -> str | None:
    """Messages are kept back on purpose."""
    return "; ".join(case.evidence.paused) or None


def blocked(case: Case) -> str | None:
    """An alarm of the broker blocks publishers: consumers that publish what they make of a message stand still with them."""
    return "; ".join(case.evidence.alarms) or None


def no_consumers(case: Case) -> str | None:
    """Nobody reads."""
    evidence = case.evidence
    if evidence.read_by_nobody:
        who = "1 member reads" if evidence.members == 1 else f"{evidence.members} members read"
        since = f" since {case.when(case.leaving.at)}" if case.leaving is not None else ""
        return f"the group's {who} other destinations, but not this one{since}"
    if evidence.consumers != 0 or case.still <= 0 or not case.thresholds.consumers_expected:
        return None
    if case.leaving is not None and case.leaving.now == 0:
        before = case.leaving.before
        who = {
            1: "the only consumer disappeared at",
            2: "both consumers disappeared, the last one at",
        }.get(before, f"all {before} consumers disappeared, the last one at")
        return f"{who} {case.when(case.leaving.at)}; there has been no consumer since"
    return f"there is no consumer, and no message was processed for {words.minutes(case.still)}"


def open_transaction(case: Case) -> str | None:
    """The position has come to a last stable offset that stands still."""
    withheld = case.evidence.withheld()
    if withheld is None:
        return None
    where, messages = withheld
    return (
        f"an open transaction in {where} blocks the group: it has read up to the transaction, and "
        f"{words.count(messages)} messages follow"
    )


def rebalancing(case: Case) -> str | None:
    """The group keeps rebalancing, or one rebalance does not end, and nobody reads meanwhile."""
    evidence = case.evidence
    if evidence.rebalance_times < RESTLESS:
        return _stuck_rebalance(case)
    state = ", and is rebalancing now" if evidence.rebalancing else ""
    return (
        f"the group rebalanced at least {evidence.rebalances} times within "
        f"{words.minutes(evidence.rebalanced_for)}{state}; "
        "consumers stop processing during each rebalance"
    )


def _stuck_rebalance(case: Case) -> str | None:
    """Members do not rejoin, and nothing was processed since the rebalance was first seen."""
    evidence = case.evidence
    if evidence.rebalancing_since is None:
        return None
    lasted = evidence.at - evidence.rebalancing_since
    if lasted < STUCK_SECONDS or case.idle < lasted:
        return None
    since = case.when(evidence.rebalancing_since)
    if evidence.rejoining is None or not evidence.members:
        return f"the group has been waiting for members to rejoin since {since}; {BLOCKED}"
    most = "1" if evidence.rejoining <= 1 else f"1 to {evidence.rejoining}"
    return (
        f"the group has been waiting for {most} of {evidence.members} members to rejoin since {since}; "
        f"{BLOCKED}"
    )


def retry_loop(case: Case) -> str | None:
    """The same messages come again and again."""
    deliveries = case.redelivered + case.consumed
    if case.redelivered >= LEAST_REPEATS and case.redelivered > MOST * deliveries:
        return _repeats(case, case.redelivered, case.consumed, "")
    if case.loop is not None:
        within = f" within {words.minutes(case.loop.seconds)}"
        return _repeats(case, case.loop.redelivered, case.loop.consumed, within)
    if case.rewinds >= RESTLESS:
        return f"the position moved back {case.rewinds} times within {words.minutes(case.memory)}"
    return None


def _repeats(case: Case, redelivered: int, consumed: int, within: str) -> str:
    """Say how many deliveries were repeats, and what is held back for another one."""
    deferred = case.evidence.deferred
    held = {0: "", 1: "; 1 message is deferred for another delivery"}.get(
        deferred, f"; {words.count(deferred)} messages are deferred for another delivery"
    )
    return (
        f"{words.share(redelivered / (redelivered + consumed))} of the deliveries are repeats "
        f"({words.count(redelivered)} requeued or timed out, {words.count(consumed)} processed"
        f"{within}){held}"
    )


def unassigned_partitions(case: Case) -> str | None:
    """No consumer is assigned the partitions on which most of what is unread waits."""
    evidence = case.evidence
    if not evidence.consumers or not evidence.unassigned:
        return None
    if evidence.unassigned <= MOST * ((evidence.lag or 0) + evidence.unassigned):
        return None
    many = len(evidence.unassigned_to) > 1
    return (
        f"partition{'s' if many else ''} {_some(evidence.unassigned_to)} {'are' if many else 'is'} not assigned "
        f"to any consumer and {'have' if many else 'has'} {words.count(evidence.unassigned)} waiting messages; "
        "consumers discover new partitions when they next refresh their metadata"
    )


def uneven_partitions(case: Case) -> str | None:
    """A few of the parts hold the backlog, or most of it waits on parts that stand still while others move."""
    parts = sorted(case.evidence.partitions(), key=lambda each: -each.lag)
    total = sum(part.lag for part in parts)
    if len(parts) < 2 or total <= 0 or case.evidence.consumers == 0:  # noqa: PLR2004 - one can't be uneven
        return None
    return _stuck(case, parts, total) or _uneven(case, parts, total)


def _stuck(case: Case, parts: Sequence[PartitionBacklog], total: int) -> str | None:
    """Say so where most of the backlog is on parts that have stood still for the stop time, and others moved since."""
    stop = case.evidence.stop
    stuck = [part for part in parts if part.lag and part.still is not None and part.still >= stop]
    held = sum(part.lag for part in stuck)
    if not stuck or len(stuck) == len(parts) or case.still >= stop or held <= MOST * total:
        return None
    still = min(part.still or 0.0 for part in stuck)
    has, it_has = ("has", "it has") if len(stuck) == 1 else ("have", "they have")
    return (
        f"{_some([part.name for part in stuck])} {has} not moved for {words.minutes(still)} while others "
        f"move; {it_has} {words.share(held / total)} of the backlog"
    )


def _uneven(case: Case, parts: Sequence[PartitionBacklog], total: int) -> str | None:
    """Say so where a few parts hold nearly all of the backlog."""
    if not case.evidence.consumers:
        return None
    few = max(len(parts) // FEW, 1)
    held = sum(part.lag for part in parts[:few]) / total
    if held < (UNEVEN if len(parts) >= FEW else UNEVEN_OF_FEW):
        return None
    most = sum(1 for part in parts[:few] if part.lag > total * (1 - held) / few)
    named = f"{_some([part.name for part in parts[:most]])} {'has' if most == 1 else 'have'}"
    share = sum(part.lag for part in parts[:most])
    if share == total:
        return f"{named} all of the backlog"
    others = len(parts) - most
    return (
        f"{named} {words.share(share / total)} of the backlog; "
        f"the {'other one has' if others == 1 else f'other {others} have'} the rest"
    )


def _some(names: Sequence[str]) -> str:
    """Return up to three names."""
    return ", ".join(names[:NAMED]) + (" and others" if len(names) > NAMED else "")
