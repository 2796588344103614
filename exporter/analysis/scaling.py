"""Advises on each subscription that a line of `scaling` matches, after each backlog poll."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

from exporter.analysis.families import Family, family, with_label
from exporter.analysis.scaled import Scaled
from exporter.analysis.state import Subscription
from exporter.judgement.evidence import Evidence
from exporter.judgement.judge import Judge
from exporter.scaling.advisor import FORGETFUL, HELD, Advisor, Memory
from exporter.scaling.board import Published, SubscriptionName
from exporter.scaling.load import Hold, Load, PartitionLoad
from exporter.scaling.policy import PolicyTable, ScalingPolicy

BLIND_SECONDS = 900.0
"""An advice is exposed for so long after the last poll, marked as held."""
DIGITS = 4
"""Digits of the score."""
ReadInput = Callable[[Hashable], float | None]
Memories = Mapping[SubscriptionName, Memory]


class Validity(NamedTuple):
    """How long an advice counts after the last poll, in seconds."""

    seconds: float

    def holds(self, scaled: Scaled, now: float) -> bool:
        """Return whether the advice counts at `now`."""
        return now - scaled.at < self.seconds

    @property
    def shown_seconds(self) -> float:
        """How long it is exposed after the last poll. Polls may be rarer than usual."""
        return max(BLIND_SECONDS, self.seconds)


class Scaling:
    """The advice for the subscriptions of one source."""

    def __init__(
        self,
        system: str,
        source: str,
        table: PolicyTable,
        read_input: ReadInput = lambda _: None,
        memories: Memories | None = None,
    ) -> None:
        """`read_input` returns the last result of a query.

        `memories` has what was learned of subscriptions that were there before. It may change.
        """
        self._names = (system, source)
        self._table = table
        self._read_input = read_input
        self._memories: Memories = {} if memories is None else memories
        self._stale = True

    @property
    def is_off(self) -> bool:
        """Whether nothing is advised at all."""
        return not self._table

    def set_table(self, table: PolicyTable) -> None:
        """Use other policies from the next poll."""
        self._table = table
        self._stale = True

    def begin(self, subscriptions: Iterable[Subscription], now: float) -> None:
        """Find the policies, after the start and after a reload."""
        if self.is_off and not self._stale:
            return
        for sub in subscriptions:
            if self._stale or not sub.judge.labels:
                self._prepare(sub, now)
        self._stale = False

    def observe(self, sub: Subscription, evidence: Evidence) -> None:
        """Advise after one poll. The subscription was judged before."""
        scaled = sub.scaled
        if scaled is None:
            return
        load = _load(evidence, sub.judge, scaled.policy, self._read_input)
        scaled.advisor.observe(load, scaled.policy)
        scaled.consumers = load.consumers
        if evidence.lag is not None or evidence.uncommitted:
            # Otherwise nobody knows; consumers must not stop for that.
            scaled.waiting = bool(evidence.lag or evidence.uncommitted)
        if load.is_known:
            scaled.at = evidence.at

    def _prepare(self, sub: Subscription, now: float) -> None:
        system, source = self._names
        policy = self._table.of_subscription(system, source, sub.vhost, sub.destination, sub.group)
        if policy is None:
            sub.scaled = None
        elif sub.scaled is not None:
            sub.scaled.policy = policy
        else:
            place = SubscriptionName(source, sub.vhost, sub.destination, sub.group)
            memory = self._memories.get(place, FORGETFUL)
            sub.scaled = Scaled(place, sub.label, policy, Advisor(memory, now), now)


def _load(evidence: Evidence, judge: Judge, policy: ScalingPolicy, read: ReadInput) -> Load:
    workers = evidence.consumers if evidence.workers is None else evidence.workers
    known = evidence.consumed is not None and not evidence.uncounted
    results = [(each, read(each.key)) for each in policy.inputs]
    return Load(
        at=evidence.at,
        lag=evidence.lag,
        age=evidence.age,
        produced=evidence.produced,
        consumed=evidence.consumed if known else None,
        produced_rate=evidence.produced_rate,
        consumed_rate=evidence.consumed_rate,
        consumers=workers,
        max_consumers=evidence.max_consumers,
        partitions=cache(partial(_partitions, evidence)),
        rebalances=evidence.all_rebalances,
        rebalancing=evidence.rebalancing,
        in_flight=evidence.in_flight,
        pauses=evidence.rebalance_pauses,
        blocked=_blocked(evidence, judge, policy),
        lag_target=judge.thresholds.lag_messages,
        age_target=_age_target(evidence, judge),
        commit_interval=evidence.commit_interval,
        inputs=[
            (each.weight, None if value is None else value / each.target) for each, value in results
        ],
    )


def _age_target(evidence: Evidence, judge: Judge) -> float | None:
    """Return the threshold of the age, as the alerts use it: plus the interval of commits."""
    limit = judge.thresholds.lag_seconds
    return None if limit is None else limit + evidence.commit_interval


def _partitions(evidence: Evidence) -> Sequence[PartitionLoad]:
    """Return the partitions, if each is read by one consumer."""
    if evidence.max_consumers is None:
        return ()
    return [PartitionLoad(p.name, p.lag, p.produced_rate) for p in evidence.partitions()]


def _blocked(evidence: Evidence, judge: Judge, policy: ScalingPolicy) -> Hold | None:
    """Return the cause that more consumers do not cure."""
    causes = {each.name for each in judge.causes}
    if judge.status == "retry_loop" or "retry_loop" in causes:
        return "retry_loop"
    if evidence.paused:
        return "paused"
    if "open_transaction" in causes:
        return "open_transaction"
    if policy.hold_large_messages and "large_messages" in causes:
        return "large_messages"
    return None


def scaling_families(every: Sequence[Scaled], valid: Validity, now: float) -> list[Family]:
    """Return the families of the advice. Outdated advice is marked as held."""
    end = now - valid.shown_seconds
    shown = [each for each in every if each.advice is not None and each.at > end]
    labels = [each.label for each in shown]
    advice = [each.advice for each in shown if each.advice is not None]
    held = [
        (each.label, reason) for each in shown if (reason := held_now(each, valid, now)) is not None
    ]
    capacity = [each.advisor.capacity.value for each in shown]
    scores = [None if each.score is None else round(each.score, DIGITS) for each in advice]
    return [
        family("mq_desired_consumers", labels, [each.consumers for each in advice]),
        family("mq_scaling_score", labels, [*scores]),
        family(
            "mq_consumer_capacity_messages_per_second",
            labels,
            [None if each is None else round(each, DIGITS) for each in capacity],
        ),
        Family(
            "mq_scaling_held",
            [with_label(label, "reason", reason) for label, reason in held],
            [1] * len(held),
        ),
    ]


def held_now(scaled: Scaled, valid: Validity, now: float) -> Hold | None:
    """Return why the advice does not follow the load; None if it does."""
    if not valid.holds(scaled, now):
        return "blind"
    return None if scaled.advice is None else scaled.advice.held


def published(every: Iterable[Scaled], valid: Validity) -> dict[SubscriptionName, Published]:
    """Return the advice for `AdviceBoard`."""
    return {
        each.place: Published(
            each.advice.consumers,
            each.waiting or each.advice.consumers > 0,
            each.advice.reason,
            each.at + valid.seconds,
        )
        for each in every
        if each.advice is not None
    }


def scaling_row(scaled: Scaled | None, valid: Validity, now: float) -> dict[str, Any] | None:
    """Return the advice JSON-ready; None if nothing is advised."""
    if scaled is None or scaled.advice is None:
        return None
    advice, held = scaled.advice, held_now(scaled, valid, now)
    reason = advice.reason
    if held == "blind" and advice.held != "blind":
        reason = f"{advice.consumers}, held: {HELD['blind']}"
    capacity = scaled.advisor.capacity.value
    return {
        "desired_consumers": advice.consumers,
        "consumers": scaled.consumers,
        "score": None if advice.score is None else round(advice.score, DIGITS),
        "held": held,
        "valid": held != "blind",
        "reason": reason,
        "capacity_messages_per_second": None if capacity is None else round(capacity, DIGITS),
        "minimum": scaled.policy.minimum,
        "maximum": scaled.policy.maximum,
    }
