"""Why there is a backlog: one rule per cause. A rule that applies returns its evidence as text.

Rules are ordered by how much they explain: an earlier cause also produces the symptoms that later rules look for, so the
first match is the likeliest. A paused channel has slow consumers; a group that keeps rebalancing has few.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from exporter.judgement import words
from exporter.judgement.baseline import Baseline
from exporter.judgement.departures import Leaving
from exporter.judgement.evidence import Evidence, Part
from exporter.judgement.repeats import LEAST_REPEATS, MOST, Loop
from exporter.judgement.status_reason import past_end as past_end_evidence
from exporter.judgement.thresholds import Thresholds
from exporter.model import CauseName

FELL = 0.6
"""A rate that is less than this part of the usual one has fallen."""
ROSE = 1.5
"""A rate that is more than so many times the usual one has risen."""
GREW = 2.0
"""A size likewise."""
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


class Cause(NamedTuple):
    """One explanation of a backlog."""

    name: CauseName
    evidence: str


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of a subscription that has a backlog."""

    sight: Evidence
    thresholds: Thresholds
    baseline: Baseline | None
    """How it was before; None where that was not seen for long enough."""
    leaving: Leaving | None
    still: float
    """Seconds for which nothing has moved although something waited."""
    idle: float
    """Seconds for which nothing has moved, whether something waited or not."""
    peak: tuple[float, float] | None
    """The highest rate of production since the backlog began, and when, on the clock of `sight.at`."""
    consumed: int
    redelivered: int
    """Movements over the last while."""
    rewinds: int
    """Of late, those together counted once."""
    memory: float
    """How many seconds `rewinds` reaches back."""
    replayed: bool = False
    """Whether the backlog is there because the position was set back."""
    loop: Loop | None = None
    """Messages that fail again and again; None where there are none."""

    def when(self, at: float) -> str:
        """Format a time that is on the clock of `sight.at`."""
        return words.moment(self.sight.clock - (self.sight.at - at), self.sight.clock)

    @property
    def each(self) -> float | None:
        """Messages a second of each consumer now."""
        rate, consumers = self.sight.consumed_rate, self.sight.consumers
        return rate / consumers if rate is not None and consumers else None

    @property
    def usual(self) -> Baseline | None:
        """How it was before, where something was consumed at all."""
        return self.baseline if self.baseline is not None and self.baseline.consumed > 0 else None


def past_end(case: Case) -> str | None:
    """A position is past the log's end."""
    return past_end_evidence(case.sight) if case.sight.past_end else None


def paused(case: Case) -> str | None:
    """Messages are kept back on purpose."""
    return "; ".join(case.sight.paused) or None


def blocked(case: Case) -> str | None:
    """An alarm of the broker blocks publishers: consumers that publish what they make of a message stand still with them."""
    return "; ".join(case.sight.alarms) or None


def no_consumers(case: Case) -> str | None:
    """Nobody reads."""
    sight = case.sight
    if sight.read_by_nobody:
        who = "1 member reads" if sight.members == 1 else f"{sight.members} members read"
        since = f" since {case.when(case.leaving.at)}" if case.leaving is not None else ""
        return f"the group's {who} other destinations, but not this one{since}"
    if sight.consumers != 0 or case.still <= 0 or not case.thresholds.consumers_expected:
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
    withheld = case.sight.withheld()
    if withheld is None:
        return None
    where, messages = withheld
    return (
        f"an open transaction in {where} blocks the group: it has read up to the transaction, and "
        f"{words.count(messages)} messages follow"
    )


def rebalancing(case: Case) -> str | None:
    """The group keeps rebalancing, or one rebalance does not end, and nobody reads meanwhile."""
    sight = case.sight
    if sight.rebalance_times < RESTLESS:
        return _stuck_rebalance(case)
    state = ", and is rebalancing now" if sight.rebalancing else ""
    return (
        f"the group rebalanced at least {sight.rebalances} times within "
        f"{words.minutes(sight.rebalanced_for)}{state}; "
        "consumers stop processing during each rebalance"
    )


def _stuck_rebalance(case: Case) -> str | None:
    """Members do not rejoin, and nothing was processed since the rebalance was first seen."""
    sight = case.sight
    if sight.rebalancing_since is None:
        return None
    lasted = sight.at - sight.rebalancing_since
    if lasted < STUCK_SECONDS or case.idle < lasted:
        return None
    since = case.when(sight.rebalancing_since)
    if sight.rejoining is None or not sight.members:
        return f"the group has been waiting for members to rejoin since {since}; {BLOCKED}"
    most = "1" if sight.rejoining <= 1 else f"1 to {sight.rejoining}"
    return (
        f"the group has been waiting for {most} of {sight.members} members to rejoin since {since}; "
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
    deferred = case.sight.deferred
    held = {0: "", 1: "; 1 message is deferred for another delivery"}.get(
        deferred, f"; {words.count(deferred)} messages are deferred for another delivery"
    )
    return (
        f"{words.part(redelivered / (redelivered + consumed))} of the deliveries are repeats "
        f"({words.count(redelivered)} requeued or timed out, {words.count(consumed)} processed"
        f"{within}){held}"
    )


def unassigned_partitions(case: Case) -> str | None:
    """No consumer is assigned the partitions on which most of what is unread waits."""
    sight = case.sight
    if not sight.consumers or not sight.unassigned:
        return None
    if sight.unassigned <= MOST * ((sight.lag or 0) + sight.unassigned):
        return None
    many = len(sight.unassigned_to) > 1
    return (
        f"partition{'s' if many else ''} {_some(sight.unassigned_to)} {'are' if many else 'is'} not assigned "
        f"to any consumer and {'have' if many else 'has'} {words.count(sight.unassigned)} waiting messages; "
        "consumers discover new partitions when they next refresh their metadata"
    )


def uneven_partitions(case: Case) -> str | None:
    """A few of the parts hold the backlog, or most of it waits on parts that stand still while others move."""
    parts = sorted(case.sight.parts(), key=lambda each: -each.lag)
    total = sum(part.lag for part in parts)
    if len(parts) < 2 or total <= 0 or case.sight.consumers == 0:  # noqa: PLR2004 - one can't be uneven
        return None
    return _stuck(case, parts, total) or _uneven(case, parts, total)


def _stuck(case: Case, parts: Sequence[Part], total: int) -> str | None:
    """Say so where most of the backlog is on parts that have stood still for the stop time, and others moved since."""
    stop = case.sight.stop
    stuck = [part for part in parts if part.lag and part.still is not None and part.still >= stop]
    held = sum(part.lag for part in stuck)
    if not stuck or len(stuck) == len(parts) or case.still >= stop or held <= MOST * total:
        return None
    still = min(part.still or 0.0 for part in stuck)
    has, it_has = ("has", "it has") if len(stuck) == 1 else ("have", "they have")
    return (
        f"{_some([part.name for part in stuck])} {has} not moved for {words.minutes(still)} while others "
        f"move; {it_has} {words.part(held / total)} of the backlog"
    )


def _uneven(case: Case, parts: Sequence[Part], total: int) -> str | None:
    """Say so where a few parts hold nearly all of the backlog."""
    if not case.sight.consumers:
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
        f"{named} {words.part(share / total)} of the backlog; "
        f"the {'other one has' if others == 1 else f'other {others} have'} the rest"
    )


def _some(names: Sequence[str]) -> str:
    """Return up to three names."""
    return ", ".join(names[:NAMED]) + (" and others" if len(names) > NAMED else "")


def large_messages(case: Case) -> str | None:
    """The messages are much larger than before, and fewer are processed."""
    usual, size, rate = case.usual, case.sight.size, case.sight.consumed_rate
    if usual is None or usual.size is None or size is None or rate is None:
        return None
    if size < GREW * usual.size or rate >= FELL * usual.consumed:
        return None
    return (
        f"the mean message size is {words.size(size)}, usually {words.size(usual.size)}; "
        f"the consume rate is {words.rate(rate)}, usually {words.rate(usual.consumed)}"
    )


def consumers_left(case: Case) -> str | None:
    """Some of the consumers are gone, and those that stayed work."""
    leaving, each, usual = case.leaving, case.each, case.usual
    if leaving is None or leaving.now == 0 or not each:
        return None
    if usual is not None and usual.each is not None and each < FELL * usual.each:
        return None
    gone = leaving.before - leaving.now
    stayed = "remaining one is busy" if leaving.now == 1 else f"remaining {leaving.now} are busy"
    return (
        f"{gone} of {words.consumers(leaving.before)} disappeared, the last one at "
        f"{case.when(leaving.at)}; the {stayed} ({words.rate(each)} each)"
    )


def traffic_surge(case: Case) -> str | None:
    """Much more comes in than before, and each consumer does what it did."""
    usual, each = case.baseline, case.each
    if usual is None or case.peak is None or each is None:
        return None
    highest, at = case.peak
    if highest < ROSE * usual.produced or highest * case.memory < LEAST_REPEATS:
        return None
    if usual.each is not None and each < FELL * usual.each:
        return None
    return (
        f"the produce rate reached {words.rate(highest)} at {case.when(at)}, usually "
        f"{words.rate(usual.produced)}; the consume rate is {words.rate(case.sight.consumed_rate or 0.0)}"
    )


def slower_consumers(case: Case) -> str | None:
    """Each consumer processes much less than it did."""
    usual, each, rate = case.usual, case.each, case.sight.consumed_rate
    if usual is None or rate is None or not case.sight.consumers:
        return None
    if each is None or usual.each is None:
        return _slower_together(case, rate, usual.consumed)
    if each >= FELL * usual.each:
        return None
    if case.still > 0 and not case.consumed:
        return (
            f"{_there(case)}, but no message was processed for {words.minutes(case.still)}; "
            f"the consume rate is usually {words.rate(usual.consumed)}"
        )
    return f"each consumer processes {words.rate(each)}, usually {words.rate(usual.each)}"


def _slower_together(case: Case, rate: float, usual: float) -> str | None:
    """Compare all of them together, if their number was not known before."""
    if rate >= FELL * usual:
        return None
    if case.still > 0 and not case.consumed:
        return (
            f"{_there(case)}, but no message was processed for {words.minutes(case.still)}; "
            f"the consume rate is usually {words.rate(usual)}"
        )
    return f"the consume rate is {words.rate(rate)}, usually {words.rate(usual)}"


def _there(case: Case) -> str:
    number = case.sight.consumers or 0
    return f"there {'is' if number == 1 else 'are'} {words.consumers(number)}"


def more_would_help(case: Case) -> str | None:
    """Consumers work, fewer than can share the work, and more comes in than they process."""
    sight, behind = case.sight, _behind(case.sight)
    if not case.each or behind is None or case.replayed:
        return None
    consumers = sight.consumers or 0
    if sight.places is not None and consumers >= sight.places:
        return None
    if case.still > 0 and not case.consumed:
        return None
    room = "" if sight.places is None else f" (at most {sight.places} can share the work)"
    return f"{words.consumers(consumers)}{room}: {behind}"


def none_helps(case: Case) -> str | None:
    """Consumers are there, as many as can be or at a standstill, and it is not enough."""
    sight = case.sight
    if not sight.consumers or sight.consumed_rate is None or case.replayed:
        return None
    if case.still >= sight.stop:
        return f"{_there(case)}, but no message was processed for {words.minutes(case.still)}"
    behind = _behind(sight)
    if behind is None or sight.places is None or sight.consumers < sight.places:
        return None
    return f"{words.consumers(sight.consumers)} (no more can share the work): {behind}"


def _behind(sight: Evidence) -> str | None:
    """Return both rates if the consume rate is below the produce rate."""
    consumed, produced = sight.consumed_rate, sight.produced_rate
    if consumed is None or produced is None or consumed >= produced:
        return None
    return f"consume rate {words.rate(consumed)}, produce rate {words.rate(produced)}"


RULES: tuple[tuple[CauseName, Callable[[Case], str | None]], ...] = (
    ("past_end", past_end),
    ("paused", paused),
    ("no_consumers", no_consumers),
    ("open_transaction", open_transaction),
    ("rebalancing", rebalancing),
    ("unassigned_partitions", unassigned_partitions),
    ("retry_loop", retry_loop),
    ("uneven_partitions", uneven_partitions),
    ("large_messages", large_messages),
    ("too_few_consumers", consumers_left),
    ("paused", blocked),
    ("traffic_surge", traffic_surge),
    ("slow_consumers", slower_consumers),
    ("too_few_consumers", more_would_help),
    ("slow_consumers", none_helps),
)


def causes_of(case: Case) -> Sequence[Cause]:
    """Return the causes that the evidence speaks for, the likeliest first; none where nothing does."""
    found: dict[CauseName, Cause] = {}
    for name, rule in RULES:
        if name not in found and (evidence := rule(case)) is not None:
            found[name] = Cause(name, evidence)
    return tuple(found.values())
