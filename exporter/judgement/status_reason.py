"""Sentences that explain a status to a person."""

from __future__ import annotations

from exporter.judgement import words
from exporter.judgement.evidence import Evidence
from exporter.model import Status


def status_reason(status: Status, sight: Evidence, looks: int) -> str | None:
    """Return a sentence that explains the status; None if the status and the causes say it all."""
    if status == "unknown" and (sight.unreadable or looks < 2 or not sight.uncounted):  # noqa: PLR2004
        return _unknown(sight, looks)
    if sight.uncounted:
        return _uncounted(status, sight)
    if status == "uncommitted":
        return _uncommitted(sight)
    if status == "past_end":
        return past_end(sight)
    if status == "stalled" and sight.consumers is None:
        return "the number of consumers is unknown"
    return None


def _uncommitted(sight: Evidence) -> str:
    if sight.had_position:
        return "the group no longer has a committed offset, so its lag is unknown"
    return "the group has never committed an offset, so its lag is unknown"


def past_end(sight: Evidence) -> str:
    """Say how far positions are past the log end, and what follows."""
    return (
        f"committed offsets are {words.count(sight.past_end)} messages past the log end (the topic was "
        "truncated or recreated, or the offsets come from another cluster); unless the offsets are "
        "reset, that many new messages will be skipped"
    )


def _uncounted(status: Status, sight: Evidence) -> str:
    """Say what is known of consumption that the broker does not count."""
    least = sight.least_consumed_rate
    if status == "unknown":
        known = "no message was observed to leave the queue recently"
    elif least:
        known = f"at least {words.rate(least)} are consumed"
    else:
        known = "the rates are unknown"
    if not sight.lag and not least:
        return (
            "the broker has counted no messages for this queue: none was published yet, the clients use "
            f"AMQP 1.0 or MQTT, or statistics are disabled; {known}"
        )
    return (
        "the broker does not count the messages that these consumers process (AMQP 1.0 or MQTT clients, "
        f"or statistics are disabled); {known}"
    )


def _unknown(sight: Evidence, looks: int) -> str | None:
    if sight.unreadable:
        what = "1 partition" if sight.unreadable == 1 else f"{sight.unreadable} partitions"
        return f"{what} cannot be read, so the actual lag may be larger than shown"
    if looks < 2:  # noqa: PLR2004 - one poll says nothing about movement
        return "only one poll so far"
    return "the lag could not be read"
