"""`python -m bench.sources`: measures the cost of many sources: start, memory, updates, stop.

The exporter sees a separate Kafka cluster for each source. All of them are one real broker, or an
address at which nothing answers (`--dead`). Exits with 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import requests

from bench.processes import cpu_between, cpu_seconds, memory, process_tree
from exporter.analysis.families import Family
from exporter.catalogue import CATALOGUE
from exporter.show.exposition import Exposition, Format, labeler
from testbed.children import is_alive
from testbed.exporter import Exporter, kafka_source
from testbed.kafka import KafkaCluster
from testbed.waiting import wait_until

COUNTS = (1, 20, 100)
TARGETS = {"start_cpu": 8.0, "pss_mb": 800.0, "update_ms": 10.0, "stop_seconds": 5.0}
"""With up to 100 sources."""
DEAD = "127.0.0.1:1"
RUNNING_SECONDS = 30.0
SCRAPE_SECONDS = 5.0
UPDATES = 30
SERIES = 20
"""Number of series of each metric of a source, when an update is measured."""
MILLI = 1_000


class Row(NamedTuple):
    """The results for one number of sources."""

    sources: int
    start_seconds: float
    """Until each task of each source has run once."""
    start_cpu: float
    pss_mb: float
    running_cpu: float
    """CPU seconds a second, with the default schedule."""
    update_ms: float
    """CPU time of one update of the exposition."""
    scrape_ms: float
    """CPU time of a compressed scrape after an update."""
    stop_seconds: float
    left: int
    """Processes that still exist two seconds after the daemon ended."""


def main() -> int:
    """Measure and print a table; return the exit code."""
    options = _parser().parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="mq-lag-exporter-bench-") as folder,
        _address(dead=options.dead) as address,
    ):
        rows = [_measure(Path(folder), count, address) for count in options.counts]
    _print(rows)
    missed = [
        f"{row.sources} sources: {name} is {getattr(row, name):.1f}, wanted are {limit:g}"
        for row in rows
        for name, limit in TARGETS.items()
        if row.sources <= max(COUNTS) and getattr(row, name) > limit
    ]
    print("\n".join(missed or ["all targets are met"]))
    return 1 if missed or any(row.left for row in rows) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.sources", description=__doc__)
    parser.add_argument("counts", nargs="*", type=int, default=list(COUNTS), metavar="SOURCES")
    parser.add_argument("--dead", action="store_true", help="without a broker: nothing answers")
    return parser


@contextlib.contextmanager
def _address(*, dead: bool) -> Iterator[str]:
    if dead:
        yield DEAD
        return
    with KafkaCluster(brokers=1) as cluster:
        yield cluster.bootstrap


def _measure(folder: Path, count: int, address: str) -> Row:
    sources = [kafka_source(address, f"source-{n}", probe={"enabled": False}) for n in range(count)]
    update_ms, scrape_ms = exposition_costs(count)
    began = time.monotonic()
    with Exporter(folder, sources, defaults={"schedule": {}}) as exporter:
        wait_until(lambda: _is_ready(exporter), "each task to have run", 300, poll_seconds=0.2)
        started = time.monotonic() - began
        cpu = cpu_seconds(exporter.pid)
        pss = memory(exporter.pid).proportional_mb
        until = time.monotonic() + RUNNING_SECONDS
        while time.monotonic() < until:
            exporter.get("/metrics", **{"Accept-Encoding": "gzip"})
            time.sleep(SCRAPE_SECONDS)
        running = cpu_between(cpu, cpu_seconds(exporter.pid)) / RUNNING_SECONDS
        stop_seconds, left = _stop(exporter)
    row = Row(
        count, started, sum(cpu.values()), pss, running, update_ms, scrape_ms, stop_seconds, left
    )
    print(row, flush=True)
    return row


def _is_ready(exporter: Exporter) -> bool:
    try:
        return bool(exporter.get("/-/ready").status_code == requests.codes.ok)
    except requests.RequestException:
        return False  # too busy to answer: that counts, too


def _stop(exporter: Exporter) -> tuple[float, int]:
    """Send SIGTERM; return the seconds, and the number of processes left two seconds later."""
    child = exporter.child
    assert child is not None  # noqa: S101 - it was started
    tree = process_tree(child.pid)
    began = time.monotonic()
    child.terminate_only()
    wait_until(lambda: not child.is_running, "the end", 300, poll_seconds=0.01)
    seconds = time.monotonic() - began
    time.sleep(2.0)
    return seconds, sum(map(is_alive, tree))


def exposition_costs(count: int) -> tuple[float, float]:
    """Return the CPU milliseconds of an update with `count` sources, and of the next scrape."""
    exposition = Exposition(_nothing)
    for number in range(count):
        exposition.update(f"source-{number}", _families(number, 0))
    updates, scrapes = [], []
    for turn in range(1, UPDATES + 1):
        families = _families(0, turn)
        began = time.process_time()
        exposition.update("source-0", families)
        updated = time.process_time()
        exposition.response("application/openmetrics-text", "gzip")
        scrapes.append(time.process_time() - updated)
        updates.append(updated - began)
    return statistics.median(updates) * MILLI, statistics.median(scrapes) * MILLI


def _nothing(_: Format) -> bytes:
    return b""


def _families(source: int, turn: int) -> list[Family]:
    label = labeler({"system": "kafka", "source": f"source-{source}"})
    labels = [label({"destination": "t", "group": f"g-{number}"}) for number in range(SERIES)]
    return [Family(metric.name, labels, [turn + n for n in range(SERIES)]) for metric in CATALOGUE]


def _print(rows: list[Row]) -> None:
    print("| " + " | ".join(["sources", *(str(row.sources) for row in rows)]) + " |")
    print("|---" * (len(rows) + 1) + "|")
    for name, what in (
        ("start_seconds", "each task has run once: {:.1f} s"),
        ("start_cpu", "CPU until then: {:.1f} s"),
        ("pss_mb", "memory of all processes (PSS): {:.0f} MB"),
        ("running_cpu", "CPU per second while running: {:.2f} s"),
        ("update_ms", "CPU of an update of the metrics: {:.2f} ms"),
        ("scrape_ms", "CPU of the scrape after it: {:.2f} ms"),
        ("stop_seconds", "from SIGTERM to the end: {:.1f} s"),
        ("left", "processes left: {}"),
    ):
        head, _, form = what.partition(": ")
        print(f"| {head} | " + " | ".join(form.format(getattr(row, name)) for row in rows) + " |")


if __name__ == "__main__":
    sys.exit(main())
