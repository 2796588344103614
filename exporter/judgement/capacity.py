"""Rules for causes that lower the consume rate or raise the load.

Too few consumers, slow consumers, more messages, larger messages.

A rule returns its evidence as text, or None if it does not apply.
"""

from __future__ import annotations

from exporter.judgement import texts
from exporter.judgement.case import Case
from exporter.judgement.evidence import Evidence
from exporter.judgement.repeats import LEAST_REPEATS

FELL = 0.6
"""A rate below this fraction of the usual rate has fallen."""
ROSE = 1.5
"""A rate above this multiple of the usual rate has risen."""
GREW = 2.0
"""A message size of at least this multiple of the usual size has grown."""


def large_messages(case: Case) -> str | None:
    """The messages are much larger than usual, and fewer are processed."""
    usual, size, rate = case.usual, case.evidence.size, case.evidence.consumed_rate
    if usual is None or usual.size is None or size is None or rate is None:
        return None
    if size < GREW * usual.size or rate >= FELL * usual.consumed:
        return None
    return (
        f"the mean message size is {texts.size(size)}, usually {texts.size(usual.size)}; "
        f"the consume rate is {texts.rate(rate)}, usually {texts.rate(usual.consumed)}"
    )


def consumers_left(case: Case) -> str | None:
    """Some consumers are gone, and the remaining ones work at their usual rate."""
    departure, each, usual = case.departure, case.rate_per_consumer, case.usual
    if departure is None or departure.now == 0 or not each:
        return None
    if (
        usual is not None
        and usual.rate_per_consumer is not None
        and each < FELL * usual.rate_per_consumer
    ):
        return None
    gone = departure.before - departure.now
    stayed = (
        "remaining one is busy" if departure.now == 1 else f"remaining {departure.now} are busy"
    )
    return (
        f"{gone} of {texts.consumers(departure.before)} disappeared, the last one at "
        f"{case.when(departure.at)}; the {stayed} ({texts.rate(each)} each)"
    )


def traffic_surge(case: Case) -> str | None:
    """The produce rate is much higher than usual, and each consumer works at its usual rate."""
    usual, each = case.baseline, case.rate_per_consumer
    if usual is None or case.peak is None or each is None:
        return None
    highest, at = case.peak
    if highest < ROSE * usual.produced or highest * case.memory < LEAST_REPEATS:
        return None
    if usual.rate_per_consumer is not None and each < FELL * usual.rate_per_consumer:
        return None
    return (
        f"the produce rate reached {texts.rate(highest)} at {case.when(at)}, usually "
        f"{texts.rate(usual.produced)}; "
        f"the consume rate is {texts.rate(case.evidence.consumed_rate or 0.0)}"
    )


def slower_consumers(case: Case) -> str | None:
    """Each consumer processes much less than usual."""
    usual, each, rate = case.usual, case.rate_per_consumer, case.evidence.consumed_rate
    if usual is None or rate is None or not case.evidence.consumers:
        return None
    if each is None or usual.rate_per_consumer is None:
        return _slower_together(case, rate, usual.consumed)
    if each >= FELL * usual.rate_per_consumer:
        return None
    if case.still > 0 and not case.consumed:
        return (
            f"{_there(case)}, but no message was processed for {texts.minutes(case.still)}; "
            f"the consume rate is usually {texts.rate(usual.consumed)}"
        )
    return (
        f"each consumer processes {texts.rate(each)}, usually {texts.rate(usual.rate_per_consumer)}"
    )


def _slower_together(case: Case, rate: float, usual: float) -> str | None:
    """Compare the total rates if the usual number of consumers is unknown."""
    if rate >= FELL * usual:
        return None
    if case.still > 0 and not case.consumed:
        return (
            f"{_there(case)}, but no message was processed for {texts.minutes(case.still)}; "
            f"the consume rate is usually {texts.rate(usual)}"
        )
    return f"the consume rate is {texts.rate(rate)}, usually {texts.rate(usual)}"


def _there(case: Case) -> str:
    number = case.evidence.consumers or 0
    return f"there {'is' if number == 1 else 'are'} {texts.consumers(number)}"


def more_would_help(case: Case) -> str | None:
    """Fewer consumers work than can share the work, and the produce rate is higher than theirs."""
    evidence, behind = case.evidence, _behind(case.evidence)
    if not case.rate_per_consumer or behind is None or case.replayed:
        return None
    consumers = evidence.consumers or 0
    if evidence.max_consumers is not None and consumers >= evidence.max_consumers:
        return None
    if case.still > 0 and not case.consumed:
        return None
    room = (
        ""
        if evidence.max_consumers is None
        else f" (at most {evidence.max_consumers} can share the work)"
    )
    return f"{texts.consumers(consumers)}{room}: {behind}"


def none_helps(case: Case) -> str | None:
    """All consumers that can share the work are there, or none makes progress: it is not enough."""
    evidence = case.evidence
    if not evidence.consumers or evidence.consumed_rate is None or case.replayed:
        return None
    if case.still >= evidence.stop:
        return f"{_there(case)}, but no message was processed for {texts.minutes(case.still)}"
    behind = _behind(evidence)
    if (
        behind is None
        or evidence.max_consumers is None
        or evidence.consumers < evidence.max_consumers
    ):
        return None
    return f"{texts.consumers(evidence.consumers)} (no more can share the work): {behind}"


def _behind(evidence: Evidence) -> str | None:
    """Return both rates if the consume rate is below the produce rate."""
    consumed, produced = evidence.consumed_rate, evidence.produced_rate
    if consumed is None or produced is None or consumed >= produced:
        return None
    return f"consume rate {texts.rate(consumed)}, produce rate {texts.rate(produced)}"
