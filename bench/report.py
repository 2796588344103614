"""The report: a table for people, and JSON for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import confluent_kafka

from bench.daemon import KINDS
from bench.figures import figures, milliseconds, truth_line
from bench.measure import Result
from bench.targets import Outcome, outcomes


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine on which the exporter was measured."""

    cores: int
    python: str
    librdkafka: str
    kafka: str
    load_before: float
    """Load average of the minute before the run."""

    @classmethod
    def here(cls, kafka: str) -> Machine:
        """Describe this machine."""
        return cls(
            cores=len(os.sched_getaffinity(0)),
            python=platform.python_version(),
            librdkafka=confluent_kafka.libversion()[0],
            kafka=kafka,
            load_before=os.getloadavg()[0],
        )


def as_json(machine: Machine, results: Mapping[str, Result]) -> dict[str, Any]:
    """Return all measurements and the figures computed from them."""
    return {
        "machine": asdict(machine),
        "scales": {
            name: {"figures": asdict(figures(result)), "measured": asdict(result)}
            for name, result in results.items()
        },
        "targets": [asdict(outcome) for outcome in outcomes(results)],
    }


def scale_text(result: Result) -> str:
    """Return the report on one scale."""
    title = f"{result.scale}: {result.positions:,} group-partitions, {result.series:,} series"
    return "\n".join([title, *_aligned(_rows(result)), "", _scrape_table(result), ""])


def targets_text(found: Sequence[Outcome]) -> str:
    """Return the table of targets."""
    rows = [("target", "", "limit", "measured", "")]
    rows += [
        (one.scale, one.subject, one.limit, one.measured, "pass" if one.met else "FAIL")
        for one in found
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def machine_text(machine: Machine) -> str:
    """Return one line on the machine."""
    return (
        f"{machine.cores} cores, load {machine.load_before:.1f} before the run; "
        f"Kafka {machine.kafka}, "
        f"Python {machine.python}, librdkafka {machine.librdkafka}"
    )


def _rows(result: Result) -> Iterator[tuple[str, str]]:
    found = figures(result)
    for metric, verdict in result.truth.items():
        yield metric, truth_line(verdict)
    starts = " and ".join(f"{seconds:.2f}" for seconds in result.first_page_seconds)
    yield "first complete scrape", f"{starts} s after the start of the process"
    for name, ratio, ours, floor in (
        ("a cycle, CPU", found.cpu_ratio, found.cycle_cpu_seconds, found.floor_cpu_seconds),
        ("a cycle, time", found.wall_ratio, found.cycle_wall_seconds, found.floor_wall_seconds),
    ):
        yield name, f"{ratio:.2f} times the floor: {ours:.3f} s, floor: {floor:.3f} s"
    yield (
        f"the first {len(result.settling)} cycles",
        f"{found.settling_cpu_seconds:.3f} s of CPU each, mean",
    )
    peaks = " + ".join(f"{peak:.0f}" for peak in result.memory.peaks_mb)
    yield (
        "memory, peak",
        f"{found.peak_mb:.0f} MB ({peaks}), floor: {result.floor.peak_mb:.0f} MB",
    )
    times = result.times
    bounded = f"{times.ages.bounded:,} of {times.subscriptions:,} subscriptions with a bound"
    yield (
        "ages",
        (
            f"{times.ages.known:,} of {result.positions:,} known, {bounded}, "
            f"{times.ages.wide:,} too wide"
        ),
    )
    yield (
        "ages, all known",
        (
            f"after {times.runs} runs ({times.at_once.known:,} after the first), "
            f"{times.seconds:.1f} s from the start"
        ),
    )
    yield "ages, CPU", f"{found.time_cpu_seconds:.3f} s per cycle in addition to the backlog"
    yield "ages, memory, peak", f"{found.time_peak_mb:.0f} MB"
    yield "memory, proportional", f"{result.memory.proportional_mb:.0f} MB at the end"


def _scrape_table(result: Result) -> str:
    lines = [f"  {'a scrape':<26}{'median':>10}{'p99':>10}{'CPU':>10}{'size':>12}"]
    costs = [(str(kind), result.scrapes[kind]) for kind in KINDS]
    costs.append(("gzip text, during cycles", result.busy_scrapes))
    for name, cost in costs:
        middle, worst = milliseconds(cost)
        cpu = f"{1000 * cost.cpu_seconds:.1f} ms" if cost.cpu_seconds is not None else "-"
        size = f"{cost.page_bytes / 1e6:.2f} MB"
        lines.append(f"  {name:<26}{middle:>7.1f} ms{worst:>7.1f} ms{cpu:>10}{size:>12}")
    return "\n".join(lines)


def _aligned(rows: Iterator[tuple[str, str]]) -> list[str]:
    pairs = list(rows)
    width = max(len(name) for name, _ in pairs)
    return [f"  {name:<{width}}  {text}" for name, text in pairs]
