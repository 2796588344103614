"""Compares the exporter's values with the clients' records: a table cell for each property."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from bench.versions.records import Records
from bench.versions.samples import Limits, Sample, Watched

WARM_UP_SECONDS = 12.0
"""Ages are judged after this time, because the first sample after the first message is late."""
ABSENT = 0.1
"""Maximum fraction of the samples under load without an age."""
WINDOW_SECONDS = 120.0
"""The default rate window."""
PROBE_EVERY = 5.0
SLOW_PROBE = 1.0
"""Maximum mean duration of a probe in seconds. On these machines it takes milliseconds."""


class Verdict(Enum):
    """The value of a cell, from the best to the worst."""

    OK = "ok"
    UNSUPPORTED = "not supported"
    MISSING = "unavailable"
    WRONG = "wrong"


@dataclass(frozen=True)
class Cell:
    """The result of one property of one version."""

    verdict: Verdict
    detail: str = ""
    """The measured error, or the reason."""


def judge(watched: Watched) -> dict[str, Cell]:
    """Return the cell of each property, in the order of the table."""
    return {name: check(watched) for name, check in PROPERTIES.items()}


def wrong_at_rest(
    sample: Sample, before: Sample, records: Records, consumers: int, limits: Limits
) -> Mapping[str, str]:
    """Return the wrong properties of a sample taken while nothing moves, with what is wrong."""
    lag, age = records.lag(sample.at), records.age(sample.aged_at)
    sent, done = len(records.lives), records.done(0, sample.at)
    produced, consumed = (
        _grown(before.produced, sample.produced),
        _grown(before.consumed, sample.consumed),
    )
    found: dict[str, str] = {}
    if sample.lag is None or abs(sample.lag - lag) > limits.lag:
        found["lag"] = f"{_number(sample.lag)} at rest instead of {lag}"
    if produced is None or abs(produced - sent) > COUNTED * sent:
        found["rates"] = f"{_number(produced)} counted as produced instead of {sent}"
    elif consumed is None or abs(consumed - done) > COUNTED * sent + limits.lag:
        found["rates"] = f"{_number(consumed)} counted as consumed instead of {done}"
    if sample.age is None or abs(sample.age - age) > limits.age + OLD * age:
        found["age"] = f"{_seconds(sample.age)} at rest instead of {age:.1f} s"
    if sample.consumers != consumers:
        found["consumers"] = f"{_number(sample.consumers)} instead of {consumers}"
    return found


COUNTED = 0.01
"""Maximum relative error of counters at rest."""
OLD = 0.01
"""Additional permitted error of an age, as a fraction of the age."""


def _lag(watched: Watched) -> Cell:
    return _at_rest(watched, "lag") or Cell(Verdict.OK)


def _rates(watched: Watched) -> Cell:
    wrong = _at_rest(watched, "rates")
    if wrong or not watched.load:
        return wrong or Cell(Verdict.WRONG, "no poll under load")
    sample, records = watched.load[-1], watched.records
    rates = (
        ("produced", sample.produced_rate, records.sent),
        ("consumed", sample.consumed_rate, records.done),
    )
    errors: list[float] = []
    for name, rate, count in rates:
        if rate is None or name not in watched.since:
            return Cell(Verdict.WRONG, f"no rate of {name} messages")
        since, until = max(watched.since[name], sample.read_at - WINDOW_SECONDS), sample.read_at
        true = count(since, until) / (until - since)
        errors.append(abs(rate - true) / true)
        if errors[-1] > watched.limits.rate:
            return Cell(Verdict.WRONG, f"{rate:.1f} {name} per second instead of {true:.1f}")
    return Cell(Verdict.OK, f"{100 * max(errors):.1f} %")


def _age(watched: Watched) -> Cell:
    begun = watched.before.at + WARM_UP_SECONDS
    samples = [sample for sample in watched.load if sample.aged_at >= begun]
    known = [
        (sample.age, watched.records.age(sample.aged_at))
        for sample in samples
        if sample.age is not None
    ]
    if len(known) < (1 - ABSENT) * len(samples) or not known:
        return Cell(Verdict.WRONG, f"absent in {len(samples) - len(known)} of {len(samples)} polls")
    mean = statistics.mean(abs(age - true) for age, true in known)
    return _at_rest(watched, "age") or _figure(mean, watched.limits.mean_age, " s")


def _consumers(watched: Watched) -> Cell:
    under_load = watched.load[-1].consumers if watched.load else None
    if under_load != watched.consumers:
        return Cell(
            Verdict.WRONG, f"{_number(under_load)} under load instead of {watched.consumers}"
        )
    return _at_rest(watched, "consumers") or Cell(Verdict.OK)


def _probe(watched: Watched) -> Cell:
    probes = watched.probes
    if not probes.success or probes.mean_seconds is None:
        return Cell(Verdict.WRONG, "no probe came back")
    if probes.bad or not all(probes.success):
        return Cell(Verdict.WRONG, f"{probes.bad:.0f} of {probes.sent:.0f} lost or failed")
    if probes.received < probes.seconds / PROBE_EVERY / 2:
        return Cell(Verdict.WRONG, f"{probes.received:.0f} in {probes.seconds:.0f} s")
    return _figure(1_000 * probes.mean_seconds, 1_000 * SLOW_PROBE, " ms")


PROPERTIES: Mapping[str, Callable[[Watched], Cell]] = {
    "lag": _lag,
    "rates": _rates,
    "age": _age,
    "consumers": _consumers,
    "probe": _probe,
}


def _at_rest(watched: Watched, name: str) -> Cell | None:
    """Return what is wrong with a property at rest or at the end; None if nothing is."""
    samples = ((watched.rest, watched.consumers), (watched.end, watched.consumers_at_end))
    for sample, consumers in samples:
        found = wrong_at_rest(sample, watched.before, watched.records, consumers, watched.limits)
        if name in found:
            return Cell(Verdict.WRONG, found[name])
    return None


def _figure(measured: float, limit: float, unit: str) -> Cell:
    text = f"{measured:.1f}{unit}"
    if measured > limit:
        return Cell(Verdict.WRONG, f"{text} instead of at most {limit:g}{unit}")
    return Cell(Verdict.OK, text)


def _grown(before: float | None, after: float | None) -> float | None:
    return None if after is None else after - (before or 0)


def _number(value: float | None) -> str:
    return "absent" if value is None else f"{value:g}"


def _seconds(value: float | None) -> str:
    return "absent" if value is None else f"{value:.1f} s"


def worst(cells: Sequence[Cell]) -> Verdict:
    """Return the worst verdict."""
    return max((cell.verdict for cell in cells), key=list(Verdict).index)
