"""Sentences that explain a status to a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from exporter.judgement import texts
from exporter.judgement.evidence import Evidence
from exporter.model import Status


def status_reason(status: Status, evidence: Evidence, polls: int) -> str | None:
    """Return a sentence that explains the status; None if the status and the causes are enough."""
    if status == "unknown" and (evidence.unreadable or polls < 2 or not evidence.uncounted):  # noqa: PLR2004
        return _unknown(evidence, polls)
    if status != "dormant" and evidence.uncounted:
        return _uncounted(status, evidence)
    explain = EXPLAINED.get(status)
    return None if explain is None else explain(evidence)


def _uncommitted(evidence: Evidence) -> str:
    if evidence.had_position:
        return "the group no longer has a committed offset, so its lag is unknown"
    return "the group has never committed an offset, so its lag is unknown"


def _dormant(evidence: Evidence) -> str:
    known = "no consumers, and nothing was processed since before the exporter first saw it"
    if evidence.age is None:
        return known
    return f"{known}; its oldest message is {texts.minutes(evidence.age)} old"


def past_end(evidence: Evidence) -> str:
    """Return by how much committed offsets are past the log end, and the consequence."""
    return (
        f"committed offsets are {texts.count(evidence.past_end)} messages past the log end "
        "(the topic was truncated or recreated, or the offsets come from another cluster); "
        "unless the offsets are reset, that many new messages will be skipped"
    )


def _uncounted(status: Status, evidence: Evidence) -> str:
    """Return the known facts about consumption that the broker does not count."""
    least = evidence.least_consumed_rate
    if status == "unknown":
        known = "no message was observed to leave the queue recently"
    elif least:
        known = f"at least {texts.rate(least)} are consumed"
    else:
        known = "the rates are unknown"
    if not evidence.lag and not least:
        return (
            "the broker has counted no messages for this queue: none was published yet, "
            f"the clients use AMQP 1.0 or MQTT, or statistics are disabled; {known}"
        )
    return (
        "the broker does not count the messages that these consumers process "
        f"(AMQP 1.0 or MQTT clients, or statistics are disabled); {known}"
    )


def _unknown(evidence: Evidence, polls: int) -> str | None:
    if evidence.unreadable:
        what = "1 partition" if evidence.unreadable == 1 else f"{evidence.unreadable} partitions"
        return f"{what} cannot be read, so the actual lag may be larger than shown"
    if polls < 2:  # noqa: PLR2004 - one poll says nothing about movement
        return "only one poll so far"
    return "the lag could not be read"


def _stalled(evidence: Evidence) -> str | None:
    if evidence.repeated_for is not None and evidence.consumers != 0:
        span = texts.minutes(evidence.repeated_for)
        return f"the consumers are alive: they have committed the same offsets again for {span}"
    return "the number of consumers is unknown" if evidence.consumers is None else None


EXPLAINED: Mapping[Status, Callable[[Evidence], str | None]] = {
    "uncommitted": _uncommitted,
    "past_end": past_end,
    "dormant": _dormant,
    "stalled": _stalled,
}
