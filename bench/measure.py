"""The measurements of the exporter, one function for each phase."""

from __future__ import annotations

import gzip
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.daemon import KINDS, Daemon, DaemonError, Kind
from bench.exposition import (
    Ages,
    Cycle,
    Metric,
    Verdict,
    ages,
    failures,
    has_all,
    judge,
    last_cycle,
    last_success,
    series_count,
    succeeded,
)
from bench.floor import Floor, measure_floor
from bench.processes import Memory, cpu_between, cpu_seconds, memory
from bench.scales import Place, Scale, Standing

FLOOR_CYCLES = 5
CYCLES = 5
SCRAPES = 50
"""Of each kind; fewer if the pauses between cycles are too short."""
POLL_SECONDS = 0.25
FIRST_POLL_SECONDS = 0.02
BUSY_INTERVAL_SECONDS = 1.0
BUSY_PAUSE_SECONDS = 0.1
"""Pause between two scrapes while cycles run back to back."""
FIRST_PAGE_SECONDS = 180.0
CYCLE_SECONDS = 120.0
FLOOR_SECONDS = 600.0
PAUSES = 5
"""Number of pauses between cycles in which the quiet scrapes of one kind are made."""


@dataclass(frozen=True, slots=True)
class CycleCost:
    """One cycle with the idle time around it, and the one or two scrapes that detect its end."""

    cpu_seconds: float
    wall_seconds: float


@dataclass(frozen=True, slots=True)
class ScrapeCost:
    """Some scrapes of one kind."""

    wall_seconds: list[float]
    cpu_seconds: float | None
    """Mean of a scrape; None if cycles ran at the same time."""
    page_bytes: int


@dataclass(frozen=True, slots=True)
class TimeCost:
    """What the ages cost, and how soon they are complete."""

    subscriptions: int
    """Groups times the topics that each reads."""
    runs: int
    """Runs of the task, from a cold start, until every position has an age and every subscription
    has a bound."""
    seconds: float
    """The same, in seconds since the start of the process."""
    at_once: Ages
    """After the first run."""
    ages: Ages
    """At the end."""
    cycles: Sequence[CycleCost]
    """Each with a run of the task."""
    memory: Memory


@dataclass(frozen=True, slots=True)
class Result:
    """All results of one scale."""

    scale: str
    positions: int
    floor: Floor
    first_page_seconds: list[float]
    truth: Mapping[Metric, Verdict]
    """At the end, after all cycles."""
    failures: Mapping[str, int]
    settling: Sequence[CycleCost]
    cycles: Sequence[CycleCost]
    scrapes: Mapping[Kind, ScrapeCost]
    busy_scrapes: ScrapeCost
    series: int
    memory: Memory
    times: TimeCost


def measure(bootstrap: str, scale: Scale, folder: Path) -> Result:
    """Measure the floor, then the exporter: with pauses between cycles, without, and with ages."""
    truth = scale.truth()
    floor = measure_floor(bootstrap, FLOOR_CYCLES, FLOOR_SECONDS)
    with Daemon(bootstrap, scale, scale.interval_seconds, folder) as daemon:
        first = first_scrape(daemon, truth)
        cycles = run_cycles(daemon, scale, scale.settling_cycles + CYCLES)
        scrapes = {kind: quiet_scrapes(daemon, scale, kind) for kind in KINDS}
        text = daemon.exposition()
        held = memory(daemon.pid)
    with Daemon(bootstrap, scale, BUSY_INTERVAL_SECONDS, folder) as daemon:
        second = first_scrape(daemon, truth)
        busy = busy_scrapes(daemon)
        last = daemon.exposition()
    with Daemon(bootstrap, scale, scale.interval_seconds, folder, times=True) as daemon:
        times = measure_times(daemon, scale)
        timed = daemon.exposition()
    counted = failures(text)
    for reason, count in (*failures(last).items(), *failures(timed).items()):
        counted[reason] = counted.get(reason, 0) + count
    verdicts = judge(text, truth)
    if all(verdict.ok for verdict in verdicts.values()):
        verdicts = judge(last, truth)
    return Result(
        scale=scale.name,
        positions=scale.positions,
        floor=floor,
        first_page_seconds=[first, second],
        truth=verdicts,
        failures=counted,
        settling=cycles[: scale.settling_cycles],
        cycles=cycles[scale.settling_cycles :],
        scrapes=scrapes,
        busy_scrapes=busy,
        series=series_count(text),
        memory=held,
        times=times,
    )


def first_scrape(daemon: Daemon, truth: Mapping[Place, Standing]) -> float:
    """Return the seconds from the start of the process until all series exist and are right."""
    seen = b""
    fault = "it does not answer"
    while time.monotonic() - daemon.started < FIRST_PAGE_SECONDS:
        time.sleep(FIRST_POLL_SECONDS)
        try:
            body = daemon.scrape("gzip text").body
        except ConnectionRefusedError:
            daemon.check()
            continue
        taken = time.monotonic() - daemon.started
        if len(body) == len(seen):
            continue
        seen = body
        text = gzip.decompress(body)
        if not has_all(text, len(truth)):
            fault = "series are missing"
            continue
        wrong = [verdict for verdict in judge(text, truth).values() if not verdict.ok]
        if not wrong:
            return taken
        fault = wrong[0].example
    raise DaemonError(f"not right within {FIRST_PAGE_SECONDS:g} s: {fault}; {failures(text)}")


def run_cycles(daemon: Daemon, scale: Scale, count: int) -> list[CycleCost]:
    """Measure cycles, each from the middle of the pause before it to the middle of the next one."""
    costs = []
    cycle = last_cycle(daemon.exposition())
    _sleep_to_middle(cycle, scale.interval_seconds)
    before = cpu_seconds(daemon.pid)
    for _ in range(count):
        cycle = _next_cycle(daemon, cycle, scale.interval_seconds)
        _sleep_to_middle(cycle, scale.interval_seconds)
        after = cpu_seconds(daemon.pid)
        costs.append(CycleCost(cpu_between(before, after), cycle.seconds))
        before = after
    return costs


def measure_times(daemon: Daemon, scale: Scale) -> TimeCost:
    """Wait until every age exists, then measure cycles that include a run of the task."""
    wanted = (scale.positions, scale.groups * scale.topics_per_group)
    found: list[tuple[float, Ages]] = []
    while time.monotonic() - daemon.started < FIRST_PAGE_SECONDS:
        time.sleep(POLL_SECONDS)
        try:
            text = daemon.exposition()
        except ConnectionRefusedError:
            daemon.check()
            continue
        began = last_success(text, "latency")
        if not succeeded(text, "latency") or (found and found[-1][0] == began):
            continue
        found.append((began, ages(text)))
        if (found[-1][1].known, found[-1][1].bounded) == wanted:
            break
    else:
        raise DaemonError(f"not every age is there: {found[-1:]}")
    seconds = time.monotonic() - daemon.started
    cycles = run_cycles(daemon, scale, scale.settling_cycles + CYCLES)
    return TimeCost(
        subscriptions=wanted[1],
        runs=len(found),
        seconds=seconds,
        at_once=found[0][1],
        ages=ages(daemon.exposition()),
        cycles=cycles[scale.settling_cycles :],
        memory=memory(daemon.pid),
    )


def quiet_scrapes(daemon: Daemon, scale: Scale, kind: Kind) -> ScrapeCost:
    """Scrape in the pause between two cycles, and in further pauses until there are enough."""
    size = len(daemon.scrape(kind).body)
    cycle = last_cycle(daemon.exposition())
    seconds: list[float] = []
    used = 0.0
    for _ in range(PAUSES):
        cycle = _next_cycle(daemon, cycle, scale.interval_seconds)
        due = cycle.began + scale.interval_seconds
        before = cpu_seconds(daemon.pid)
        while len(seconds) < SCRAPES and time.time() + 2 * max(seconds, default=0.0) < due:
            seconds.append(daemon.scrape(kind).seconds)
        used += cpu_between(before, cpu_seconds(daemon.pid))
        if len(seconds) == SCRAPES:
            break
    if not seconds:
        raise DaemonError("cycles leave no time for a scrape between them")
    return ScrapeCost(seconds, used / len(seconds), size)


def busy_scrapes(daemon: Daemon) -> ScrapeCost:
    """Scrape while cycles run back to back."""
    seconds = []
    for _ in range(SCRAPES):
        scrape = daemon.scrape("gzip text")
        seconds.append(scrape.seconds)
        time.sleep(BUSY_PAUSE_SECONDS)
    return ScrapeCost(seconds, None, len(scrape.body))


def _next_cycle(daemon: Daemon, before: Cycle, interval_seconds: float) -> Cycle:
    """Return the cycle after `before`, once it has ended."""
    until = time.monotonic() + interval_seconds + CYCLE_SECONDS
    # Each check costs the daemon a scrape, so it begins shortly before the end is due.
    time.sleep(max(before.began + interval_seconds + 0.9 * before.seconds - time.time(), 0.0))
    while time.monotonic() < until:
        cycle = last_cycle(daemon.exposition())
        if cycle.began != before.began:
            return cycle
        time.sleep(POLL_SECONDS)
    text = daemon.exposition()
    raise DaemonError(f"no cycle succeeded within {CYCLE_SECONDS:g} s: {failures(text)}")


def _sleep_to_middle(cycle: Cycle, interval_seconds: float) -> None:
    middle = cycle.began + (cycle.seconds + interval_seconds) / 2
    time.sleep(max(middle - time.time(), 0.0))
