"""Rules for causes that keep messages from being processed.

Among them: no consumers, a pause, a retry loop, partitions that are stuck.

A rule returns its evidence as text, or None if it does not apply.
"""

from __future__ import annotations

from collections.abc import Sequence

from exporter.judgement import texts
from exporter.judgement.case import Case
from exporter.judgement.evidence import PartitionBacklog
from exporter.judgement.repeats import LEAST_REPEATS, MOST
from exporter.judgement.status_reason import past_end as past_end_evidence

UNEVEN, UNEVEN_OF_FEW = 0.8, 0.9
"""Share of the backlog on a few partitions that is uneven: on a quarter of four or more, or on one
of two or three."""
FEW = 4
RESTLESS = 3
"""This many rebalances or rewinds, at different times, are not a coincidence."""
STUCK_SECONDS = 15.0
"""A rebalance that was observed for so long waits for a member that does not rejoin."""
NAMED = 3
"""Maximum number of partitions that a text names."""
BLOCKED = "no message is processed until they do"
"""End of a sentence about members that have to rejoin."""


def past_end(case: Case) -> str | None:
    """A committed offset is past the log end."""
    return past_end_evidence(case.evidence) if case.evidence.past_end else None


def paused(case: Case) -> str | None:
    """Delivery is paused on purpose."""
    return "; ".join(case.evidence.paused) or None


def publishers_blocked(case: Case) -> str | None:
    """An alarm of the broker blocks publishers, and so also consumers that publish results."""
    return "; ".join(case.evidence.alarms) or None


def no_consumers(case: Case) -> str | None:
    """No consumer reads this destination."""
    evidence = case.evidence
    if evidence.reads_elsewhere:
        who = "1 member reads" if evidence.members == 1 else f"{evidence.members} members read"
        since = f" since {case.when(case.departure.at)}" if case.departure is not None else ""
        return f"the group's {who} other destinations, but not this one{since}"
    if evidence.consumers != 0 or case.still <= 0 or not case.thresholds.consumers_expected:
        return None
    if case.departure is not None and case.departure.now == 0:
        before = case.departure.before
        who = {
            1: "the only consumer disappeared at",
            2: "both consumers disappeared, the last one at",
        }.get(before, f"all {before} consumers disappeared, the last one at")
        return f"{who} {case.when(case.departure.at)}; there has been no consumer since"
    return f"there is no consumer, and no message was processed for {texts.minutes(case.still)}"


def open_transaction(case: Case) -> str | None:
    """The group has read up to the last stable offset, which does not move."""
    withheld = case.evidence.withheld()
    if withheld is None:
        return None
    where, messages = withheld
    return (
        f"an open transaction in {where} blocks the group: it has read up to the transaction, and "
        f"{texts.count(messages)} messages follow"
    )


def rebalancing(case: Case) -> str | None:
    """The group rebalances repeatedly, or a rebalance does not end. Meanwhile nothing is read."""
    evidence = case.evidence
    if evidence.rebalance_times < RESTLESS:
        return _stuck_rebalance(case)
    state = ", and is rebalancing now" if evidence.rebalancing else ""
    return (
        f"the group rebalanced at least {evidence.rebalances} times within "
        f"{texts.minutes(evidence.rebalanced_for)}{state}; "
        "consumers stop processing during each rebalance"
    )


def _stuck_rebalance(case: Case) -> str | None:
    """Members do not rejoin, and nothing was processed since the rebalance was first observed."""
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
        f"the group has been waiting for {most} of {evidence.members} members "
        f"to rejoin since {since}; {BLOCKED}"
    )


def retry_loop(case: Case) -> str | None:
    """The same messages are delivered repeatedly."""
    deliveries = case.redelivered + case.consumed
    if case.redelivered >= LEAST_REPEATS and case.redelivered > MOST * deliveries:
        return _repeats(case, case.redelivered, case.consumed, "")
    if case.loop is not None:
        within = f" within {texts.minutes(case.loop.seconds)}"
        return _repeats(case, case.loop.redelivered, case.loop.consumed, within)
    if case.rewinds >= RESTLESS:
        return f"the position moved back {case.rewinds} times within {texts.minutes(case.memory)}"
    return None


def _repeats(case: Case, redelivered: int, consumed: int, within: str) -> str:
    """Return the share of repeated deliveries, and how many messages are deferred."""
    deferred = case.evidence.deferred
    held = {0: "", 1: "; 1 message is deferred for another delivery"}.get(
        deferred, f"; {texts.count(deferred)} messages are deferred for another delivery"
    )
    return (
        f"{texts.share(redelivered / (redelivered + consumed))} of the deliveries are repeats "
        f"({texts.count(redelivered)} requeued or timed out, {texts.count(consumed)} processed"
        f"{within}){held}"
    )


def unassigned_partitions(case: Case) -> str | None:
    """Most unread messages are on partitions that are not assigned to a consumer."""
    evidence = case.evidence
    if not evidence.consumers or not evidence.unassigned:
        return None
    if evidence.unassigned <= MOST * ((evidence.lag or 0) + evidence.unassigned):
        return None
    many = len(evidence.unassigned_to) > 1
    named = f"partition{'s' if many else ''} {_some(evidence.unassigned_to)}"
    are, have = ("are", "have") if many else ("is", "has")
    return (
        f"{named} {are} not assigned to any consumer and {have} "
        f"{texts.count(evidence.unassigned)} waiting messages; "
        "consumers discover new partitions when they next refresh their metadata"
    )


def uneven_partitions(case: Case) -> str | None:
    """Few partitions have most of the backlog, or most of it is on partitions that do not move."""
    partitions = sorted(case.evidence.partitions(), key=lambda each: -each.lag)
    total = sum(each.lag for each in partitions)
    if len(partitions) < 2 or total <= 0 or case.evidence.consumers == 0:  # noqa: PLR2004 - one can't be uneven
        return None
    return _stuck(case, partitions, total) or _uneven(case, partitions, total)


def _stuck(case: Case, partitions: Sequence[PartitionBacklog], total: int) -> str | None:
    """Most of the backlog is on partitions that have not moved for the stop time; others moved."""
    stop = case.evidence.stop
    stuck = [
        each for each in partitions if each.lag and each.still is not None and each.still >= stop
    ]
    lag = sum(each.lag for each in stuck)
    if not stuck or len(stuck) == len(partitions) or case.still >= stop or lag <= MOST * total:
        return None
    still = min(each.still or 0.0 for each in stuck)
    has, it_has = ("has", "it has") if len(stuck) == 1 else ("have", "they have")
    return (
        f"{_some([each.name for each in stuck])} {has} not moved for {texts.minutes(still)} "
        f"while others move; {it_has} {texts.share(lag / total)} of the backlog"
    )


def _uneven(case: Case, partitions: Sequence[PartitionBacklog], total: int) -> str | None:
    """A few partitions have nearly all of the backlog."""
    if not case.evidence.consumers:
        return None
    few = max(len(partitions) // FEW, 1)
    theirs = sum(each.lag for each in partitions[:few]) / total
    if theirs < (UNEVEN if len(partitions) >= FEW else UNEVEN_OF_FEW):
        return None
    most = sum(1 for each in partitions[:few] if each.lag > total * (1 - theirs) / few)
    named = f"{_some([each.name for each in partitions[:most]])} {'has' if most == 1 else 'have'}"
    lag = sum(each.lag for each in partitions[:most])
    if lag == total:
        return f"{named} all of the backlog"
    others = len(partitions) - most
    return (
        f"{named} {texts.share(lag / total)} of the backlog; "
        f"the {'other one has' if others == 1 else f'other {others} have'} the rest"
    )


def _some(names: Sequence[str]) -> str:
    """Return up to three names."""
    return ", ".join(names[:NAMED]) + (" and others" if len(names) > NAMED else "")
