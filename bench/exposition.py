"""Parses the exposition and compares it with the truth."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bench.scales import Place, Standing

Metric = Literal["mq_lag_messages", "mq_committed_offset"]
METRICS: tuple[Metric, ...] = ("mq_lag_messages", "mq_committed_offset")

TOLERANCE_SECONDS = 1.0
TOLERANCE_RATIO = 0.01
"""The exporter's defaults."""

_LABEL = re.compile(r'(\w+)="([^"]*)"')
_SUCCESS = re.compile(
    rb'^mq_collect_last_success_timestamp_seconds\{[^}]*task="backlog"[^}]*\} (\S+)$', re.MULTILINE
)
_DURATION = re.compile(
    rb'^mq_collect_duration_seconds\{[^}]*task="backlog"[^}]*\} (\S+)$', re.MULTILINE
)
_UP = re.compile(rb"^mq_up\{[^}]*\} 1$", re.MULTILINE)
_FAILURES = re.compile(rb"^mq_collect_failures_total\{([^}]*)\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Comparison of one metric's series with the truth."""

    expected: int
    right: int
    wrong: int
    missing: int
    unexpected: int
    """Series of objects that do not exist."""
    duplicate: int
    example: str
    """The first fault."""

    @property
    def ok(self) -> bool:
        """Whether every series exists once and is right."""
        return self.right == self.expected and not (self.unexpected or self.duplicate)


@dataclass(frozen=True, slots=True)
class Ages:
    """Number of positions with an age, and of subscriptions with an error bound."""

    known: int
    bounded: int
    wide: int
    """Bounds that exceed the default tolerance."""


def ages(exposition: bytes) -> Ages:
    """Count the ages and their bounds."""
    text = exposition.decode()
    oldest: dict[tuple[str, str], float] = {}
    known = 0
    for place, seconds in _samples("mq_lag_seconds", text):
        known += 1
        key = (place.group, place.topic)
        oldest[key] = max(oldest.get(key, 0.0), seconds)
    bounds = {
        (place.group, place.topic): bound
        for place, bound in _samples("mq_lag_seconds_uncertainty", text)
    }
    wide = sum(
        bound > max(TOLERANCE_SECONDS, TOLERANCE_RATIO * oldest.get(key, 0.0))
        for key, bound in bounds.items()
    )
    return Ages(known, len(bounds), wide)


def last_success(exposition: bytes, task: str) -> float:
    """Return when the last successful run of a task began, in Unix time."""
    found = re.search(
        rb'^mq_collect_last_success_timestamp_seconds\{[^}]*task="'
        + task.encode()
        + rb'"[^}]*\} (\S+)$',
        exposition,
        re.MULTILINE,
    )
    return float(found[1]) if found else 0.0


def succeeded(exposition: bytes, task: str) -> bool:
    """Return whether the last run of a task was complete."""
    pattern = rb'^mq_collect_success\{[^}]*task="' + task.encode() + rb'"[^}]*\} 1$'
    return re.search(pattern, exposition, re.MULTILINE) is not None


@dataclass(frozen=True, slots=True)
class Cycle:
    """The last successful run of the task `backlog`."""

    began: float
    """Unix time; before the first success, the start of the daemon."""
    seconds: float
    """Duration of the last run."""
    complete: bool
    """Whether there has been a success."""


def last_cycle(exposition: bytes) -> Cycle:
    """Return the last run of the task `backlog`."""
    began, seconds = _SUCCESS.search(exposition), _DURATION.search(exposition)
    return Cycle(
        float(began[1]) if began else 0.0,
        float(seconds[1]) if seconds else 0.0,
        complete=_UP.search(exposition) is not None,
    )


def failures(exposition: bytes) -> dict[str, int]:
    """Return the counted failures by task and reason, without those that are 0."""
    found = {}
    for labels, value in _FAILURES.findall(exposition):
        if count := int(float(value)):
            by_name = dict(_LABEL.findall(labels.decode()))
            found[f"{by_name['task']} {by_name['reason']}"] = count
    return found


def series_count(exposition: bytes) -> int:
    """Return the number of sample lines."""
    return exposition.count(b"\n") - len(re.findall(rb"^#", exposition, re.MULTILINE))


def has_all(exposition: bytes, positions: int) -> bool:
    """Return quickly whether the exposition may be complete."""
    return all(exposition.count(f"\n{metric}{{".encode()) >= positions for metric in METRICS)


def judge(exposition: bytes, truth: Mapping[Place, Standing]) -> dict[Metric, Verdict]:
    """Compare each series of lag and committed offset with the truth."""
    text = exposition.decode()
    return {metric: _judge(metric, _samples(metric, text), truth) for metric in METRICS}


def _samples(metric: str, text: str) -> list[tuple[Place, float]]:
    found = []
    for labels, value in re.findall(rf"^{metric}\{{(.*)\}} (\S+)$", text, re.MULTILINE):
        by_name = dict(_LABEL.findall(labels))
        place = Place(by_name["group"], by_name["destination"], int(by_name.get("partition", -1)))
        found.append((place, float(value)))
    return found


def _judge(
    metric: Metric, samples: list[tuple[Place, float]], truth: Mapping[Place, Standing]
) -> Verdict:
    times = Counter(place for place, _ in samples)
    right = 0
    faults: list[str] = []
    for place, value in dict(samples).items():
        standing = truth.get(place)
        if standing is None:
            faults.append(f"{metric} of {place}: there is no such position")
            continue
        true = standing.lag if metric == "mq_lag_messages" else standing.committed
        if value == true:
            right += 1
        else:
            faults.append(f"{metric} of {place}: {value:g}, and the truth is {true}")
    missing = truth.keys() - times.keys()
    faults += [f"{metric} of {place}: missing" for place in sorted(missing)[:1]]
    unexpected = len(times.keys() - truth.keys())
    duplicate = sum(count - 1 for count in times.values())
    return Verdict(
        expected=len(truth),
        right=right,
        wrong=len(times) - unexpected - right,
        missing=len(missing),
        unexpected=unexpected,
        duplicate=duplicate,
        example=faults[0] if faults else ("a series is there twice" if duplicate else ""),
    )
