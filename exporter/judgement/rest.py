"""The facts of a subscription on which nothing happens: it need not be judged at each poll."""

from __future__ import annotations

from typing import NamedTuple

from exporter.judgement.evidence import Evidence
from exporter.model import Status

REST_SECONDS = 30.0
"""Seconds after which it is judged in any case."""


class RestFacts(NamedTuple):
    """What changes with time alone is computed from this. The fields are those of `Evidence`."""

    at: float
    lag: int | None
    consumed: int | None
    produced: int | None
    redelivered: int
    commit_interval: float
    consumed_rate: float | None
    produced_rate: float | None
    consumers: int | None
    size: float | None


def facts_at_rest(status: Status, evidence: Evidence) -> RestFacts | None:
    """Return the facts if nothing moves, and the status does not depend on how long that lasts."""
    quiet = status == "dormant" or (status == "ok" and evidence.lag == 0)
    rates = (evidence.produced_rate, evidence.consumed_rate)
    if not quiet or any(rates) or None in rates or evidence.uncommitted:
        return None
    if evidence.rebalancing or evidence.rebalances:
        return None
    return RestFacts(
        evidence.at,
        evidence.lag,
        evidence.consumed,
        evidence.produced,
        evidence.redelivered,
        evidence.commit_interval,
        evidence.consumed_rate,
        evidence.produced_rate,
        evidence.consumers,
        evidence.size,
    )
