"""Limits for the figures at each scale. Wrong values are not among them: they always fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.figures import Figures, figures
from bench.measure import Result

LINEAR = 1.1
"""Costs may grow by this factor more than the number of positions."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A target, and whether it was met."""

    scale: str
    subject: str
    limit: str
    measured: str
    met: bool


@dataclass(frozen=True, slots=True)
class _Limit:
    subject: str
    unit: str
    factor: float
    """Converts the figure to `unit`."""
    most: float
    figure: Callable[[Figures], float]

    def judge(self, scale: str, found: Figures) -> Outcome:
        value = self.figure(found) * self.factor
        return Outcome(
            scale,
            self.subject,
            f"at most {self.most:g} {self.unit}",
            f"{value:.3g} {self.unit}",
            value <= self.most,
        )


_AT_M = (
    _Limit("scrape, median, slowest kind", "ms", 1000, 30, lambda f: f.scrape_wall_seconds),
    _Limit("scrape, CPU, most expensive kind", "ms", 1000, 15, lambda f: f.scrape_cpu_seconds),
    _Limit("cycle, CPU", "s", 1, 0.6, lambda f: f.cycle_cpu_seconds),
    _Limit("peak memory", "MB", 1, 150, lambda f: f.peak_mb),
    _Limit("first complete scrape", "s", 1, 3, lambda f: f.first_page_seconds),
    _Limit("ages, additional CPU per cycle", "s", 1, 1, lambda f: f.time_cpu_seconds),
)
MOST_RUNS = 3
"""Runs after a cold start until every age and its bound are known, at scale M."""

_GROWING: tuple[tuple[str, Callable[[Figures], float]], ...] = (
    ("cycle, CPU", lambda f: f.cycle_cpu_seconds),
    ("cycle, wall", lambda f: f.cycle_wall_seconds),
    ("scrape, median", lambda f: f.scrape_wall_seconds),
    ("peak memory", lambda f: f.peak_mb),
)


def outcomes(results: Mapping[str, Result]) -> list[Outcome]:
    """Compare the results with the targets. Growth needs the results of both of its scales."""
    found = [
        Outcome(
            result.scale,
            "failed or partial runs",
            "none",
            ", ".join(f"{count} {reason}" for reason, count in result.failures.items()) or "none",
            not result.failures,
        )
        for result in results.values()
    ]
    if "M" in results:
        at_m = figures(results["M"])
        found += [limit.judge("M", at_m) for limit in _AT_M]
        runs = results["M"].times.runs
        found.append(
            Outcome("M", "ages, runs", f"at most {MOST_RUNS}", f"{runs}", runs <= MOST_RUNS)
        )
        if "L" in results:
            growth = results["L"].positions / results["M"].positions
            at_l = figures(results["L"])
            found += [
                Outcome(
                    "L",
                    f"{subject}, against M",
                    f"at most {LINEAR * growth:g} times",
                    f"{of(at_l) / of(at_m):.2f} times",
                    of(at_l) / of(at_m) <= LINEAR * growth,
                )
                for subject, of in _GROWING
            ]
    return found
