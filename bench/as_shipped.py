"""`python -m bench.as_shipped`: what the default configuration costs.

All tasks run at their default intervals, with probes. CPU is that of all processes of the exporter
per 10 s, beside the floor (see `floor.py`): in the first two minutes, while nothing moves, and
while a tenth of the positions moves in each cycle. Exits with 1 if a lag is wrong at the end.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.daemon import Daemon
from bench.exposition import judge
from bench.floor import measure_floor
from bench.generate import generate
from bench.measure import first_scrape
from bench.processes import cpu_between, cpu_seconds, memory
from bench.scales import SCALES, Place, Scale, Standing
from testbed.background import Background
from testbed.kafka import KafkaCluster
from testbed.kafka_data import commit_offsets
from testbed.waiting import wait_until

CYCLE = 10.0
FIRST_SECONDS = 120.0
SHARE = 0.1
"""The part of the positions that moves in each cycle, while it is busy."""


class Movement(Background):
    """Commits other offsets for a tenth of the groups in each cycle, in this process."""

    def __init__(self, bootstrap: str, scale: Scale) -> None:
        super().__init__()
        self.truth = scale.truth()
        self._bootstrap, self._scale = bootstrap, scale
        self._random = random.Random(7)

    def _run(self) -> None:
        count = max(round(self._scale.groups * SHARE), 1)
        while not self._stopping.is_set():
            began = time.monotonic()
            for group in self._random.sample(range(self._scale.groups), count):
                if self._stopping.is_set():
                    return
                self._move(group)
                self._stopping.wait(CYCLE / count / 2)
            self._stopping.wait(max(began + CYCLE - time.monotonic(), 0.0))

    def _move(self, group: int) -> None:
        offsets: dict[tuple[str, int], int] = {}
        for place, first in self._scale.group_standings(group):
            end = first.committed + first.lag
            committed = self._random.randint(0, end)
            offsets[place.topic, place.partition] = committed
            self.truth[place] = Standing(committed, end - committed)
        commit_offsets(self._bootstrap, self._scale.group_name(group), offsets)


def cycles(daemon: Daemon, seconds: float) -> Iterator[float]:
    """Yield the CPU seconds of each cycle. A scrape in each, as Prometheus does."""
    for _ in range(round(seconds / CYCLE)):
        before = cpu_seconds(daemon.pid)
        end = time.monotonic() + CYCLE
        daemon.scrape("gzip text")
        time.sleep(max(end - time.monotonic(), 0.0))
        daemon.check()
        yield cpu_between(before, cpu_seconds(daemon.pid))


def is_true(daemon: Daemon, truth: dict[Place, Standing]) -> bool:
    """Wait for the next polls, and compare every lag."""

    def right() -> bool:
        return all(verdict.ok for verdict in judge(daemon.exposition(), truth).values())

    try:
        wait_until(right, "every lag to be right", 60, 2)
    except TimeoutError:
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.as_shipped", description=__doc__)
    parser.add_argument("--scale", choices=list(SCALES), default="M")
    parser.add_argument("--seconds", type=float, default=120.0, help="of each measurement")
    parser.add_argument("--offsets", choices=["auto", "admin", "stream"], default="auto")
    options = parser.parse_args()
    scale = SCALES[options.scale]
    folder = Path(tempfile.mkdtemp(prefix="mq-lag-exporter-bench-"))
    with KafkaCluster(brokers=1, java_options={0: "-Xmx1g"}) as cluster:
        generate(cluster.bootstrap, scale)
        floor = measure_floor(cluster.bootstrap, 5, 600.0)
        truth = scale.truth()
        with Daemon(cluster.bootstrap, scale, CYCLE, folder, as_shipped=options.offsets) as daemon:
            first = first_scrape(daemon, truth)
            starting = list(cycles(daemon, FIRST_SECONDS))
            steady = list(cycles(daemon, options.seconds))
            with Movement(cluster.bootstrap, scale) as movement:
                list(cycles(daemon, 2 * CYCLE))
                busy = list(cycles(daemon, options.seconds))
            right = is_true(daemon, movement.truth)
            used = memory(daemon.pid)
    print(f"scale {scale.name}: {scale.positions:,} group-partitions, default configuration")
    print(f"  first complete page   {first:.1f} s after the start of the process")
    one = statistics.median(floor.cpu_seconds)
    for name, found in (("first two minutes", starting), ("steady", steady), ("busy", busy)):
        each = statistics.mean(found)
        print(
            f"  {name:<21} {each:.2f} CPU s per 10 s (median {statistics.median(found):.2f}), "
            f"{each / one:.1f} times the floor"
        )
    print(f"  floor                 {one:.3f} CPU s for one listing of all offsets")
    peaks = ", ".join(f"{peak:.0f}" for peak in used.peaks_mb)
    now = f"now {used.proportional_mb:.0f} with shared pages once"
    print(f"  memory, peak          {used.peak_mb:.0f} MB ({peaks}); {now}")
    print(f"  lags at the end       {'all right' if right else 'WRONG'}")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
