"""The figures of a report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median

from bench.daemon import KINDS
from bench.exposition import Verdict
from bench.measure import CycleCost, Result, ScrapeCost


@dataclass(frozen=True, slots=True)
class Figures:
    """The result of one scale in single numbers. Ratios compare the exporter with the floor."""

    cycle_cpu_seconds: float
    cycle_wall_seconds: float
    settling_cpu_seconds: float
    floor_cpu_seconds: float
    floor_wall_seconds: float
    cpu_ratio: float
    wall_ratio: float
    first_page_seconds: float
    """The slower of the two starts."""
    scrape_wall_seconds: float
    """The slowest median of all kinds."""
    scrape_cpu_seconds: float
    """The most expensive of all kinds."""
    peak_mb: float
    time_cpu_seconds: float
    """Of the ages, for each cycle, in addition to the backlog."""
    time_peak_mb: float
    """Including the ages."""


def figures(result: Result) -> Figures:
    """Summarize a result."""
    floor_cpu, floor_wall = median(result.floor.cpu_seconds), median(result.floor.wall_seconds)
    cycle_cpu, cycle_wall = _cpu(result.cycles), median(c.wall_seconds for c in result.cycles)
    scrapes = [result.scrapes[kind] for kind in KINDS]
    return Figures(
        cycle_cpu_seconds=cycle_cpu,
        cycle_wall_seconds=cycle_wall,
        settling_cpu_seconds=mean(cycle.cpu_seconds for cycle in result.settling),
        floor_cpu_seconds=floor_cpu,
        floor_wall_seconds=floor_wall,
        cpu_ratio=cycle_cpu / floor_cpu,
        wall_ratio=cycle_wall / floor_wall,
        first_page_seconds=max(result.first_page_seconds),
        scrape_wall_seconds=max(median(scrape.wall_seconds) for scrape in scrapes),
        scrape_cpu_seconds=max(scrape.cpu_seconds or 0.0 for scrape in scrapes),
        peak_mb=result.memory.peak_mb,
        time_cpu_seconds=max(_cpu(result.times.cycles) - cycle_cpu, 0.0),
        time_peak_mb=result.times.memory.peak_mb,
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of the values do not exceed."""
    ranked = sorted(values)
    return ranked[max(math.ceil(len(ranked) * percent / 100), 1) - 1]


def is_right(result: Result) -> bool:
    """Return whether every series exists once and is right."""
    return all(verdict.ok for verdict in result.truth.values())


def truth_line(verdict: Verdict) -> str:
    """Compare a metric's series with the truth, in one line."""
    text = f"{verdict.right:,} of {verdict.expected:,} right"
    faults = [
        f"{count:,} {name}"
        for name, count in (
            ("wrong", verdict.wrong),
            ("missing", verdict.missing),
            ("of nothing", verdict.unexpected),
            ("twice", verdict.duplicate),
        )
        if count
    ]
    return f"{text}, {', '.join(faults)}: {verdict.example}" if faults else text


def milliseconds(scrape: ScrapeCost) -> tuple[float, float]:
    """Return the median and the 99th percentile of the duration of a scrape, in ms."""
    return 1000 * median(scrape.wall_seconds), 1000 * percentile(scrape.wall_seconds, 99)


def _cpu(cycles: Sequence[CycleCost]) -> float:
    return median(cycle.cpu_seconds for cycle in cycles)
