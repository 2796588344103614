"""`python -m bench.as_shipped`: what the default configuration costs.

All tasks run at their default intervals, with probes. CPU is that of all processes of the exporter
per 10 s, beside the floor (see `floor.py`): in the first two minutes, while nothing moves, and
while a tenth of the positions moves in each cycle. Exits with 1 if a lag is wrong at the end.

With `--kminion FILE`, kminion is then measured in the same way on the same broker.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.daemon import Daemon
from bench.exposition import judge
from bench.floor import measure_floor
from bench.generate import generate
from bench.kminion import MODES, Kminion, Mode
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


def cycles(
    subject: Daemon | Kminion, scrape: Callable[[], object], seconds: float
) -> Iterator[float]:
    """Yield the CPU seconds of each cycle. A scrape in each, as Prometheus does."""
    for _ in range(round(seconds / CYCLE)):
        before = cpu_seconds(subject.pid)
        end = time.monotonic() + CYCLE
        scrape()
        time.sleep(max(end - time.monotonic(), 0.0))
        subject.check()
        yield cpu_between(before, cpu_seconds(subject.pid))


def is_true(daemon: Daemon, truth: dict[Place, Standing]) -> bool:
    """Wait for the next polls, and compare every lag."""

    def right() -> bool:
        return all(verdict.ok for verdict in judge(daemon.exposition(), truth).values())

    try:
        wait_until(right, "every lag to be right", 60, 2)
    except TimeoutError:
        return False
    return True


def measure_kminion(
    binary: Path, cluster: KafkaCluster, scale: Scale, mode: Mode, folder: Path, seconds: float
) -> list[str]:
    """Return what it costs, as lines."""
    truth = scale.truth()
    reset(cluster.bootstrap, scale)
    with Kminion(binary, cluster.bootstrap, mode, folder) as kminion:
        first = kminion.first_page(truth)
        steady = list(cycles(kminion, kminion.scrape, seconds))
        with Movement(cluster.bootstrap, scale) as movement:
            list(cycles(kminion, kminion.scrape, 2 * CYCLE))
            busy = list(cycles(kminion, kminion.scrape, seconds))
        right = kminion.right(movement.truth)
        used = memory(kminion.pid)
    page = "not within 5 minutes" if first is None else f"{first:.1f} s"
    return [
        f"kminion, {mode}, a scrape every 10 s",
        f"  first complete page   {page} after the start of the process",
        f"  steady                {statistics.mean(steady):.2f} CPU s per 10 s",
        f"  busy                  {statistics.mean(busy):.2f} CPU s per 10 s",
        f"  memory, peak          {used.peak_mb:.0f} MB",
        f"  lags at the end       {right:,} of {len(truth):,} right",
    ]


def reset(bootstrap: str, scale: Scale) -> None:
    """Commit the first offsets again."""
    for group in range(scale.groups):
        offsets = {
            (place.topic, place.partition): first.committed
            for place, first in scale.group_standings(group)
        }
        commit_offsets(bootstrap, scale.group_name(group), offsets)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.as_shipped", description=__doc__)
    parser.add_argument("--scale", choices=list(SCALES), default="M")
    parser.add_argument("--seconds", type=float, default=120.0, help="of each measurement")
    parser.add_argument("--offsets", choices=["auto", "admin", "stream"], default="auto")
    parser.add_argument("--kminion", type=Path, metavar="FILE", help="measure it, too")
    options = parser.parse_args()
    scale = SCALES[options.scale]
    folder = Path(tempfile.mkdtemp(prefix="mq-lag-exporter-bench-"))
    with KafkaCluster(brokers=1, java_options={0: "-Xmx1g"}) as cluster:
        generate(cluster.bootstrap, scale)
        floor = measure_floor(cluster.bootstrap, 5, 600.0)
        truth = scale.truth()
        with Daemon(cluster.bootstrap, scale, CYCLE, folder, as_shipped=options.offsets) as daemon:
            first = first_scrape(daemon, truth)

            def scrape() -> object:
                return daemon.scrape("gzip text")

            starting = list(cycles(daemon, scrape, FIRST_SECONDS))
            steady = list(cycles(daemon, scrape, options.seconds))
            with Movement(cluster.bootstrap, scale) as movement:
                list(cycles(daemon, scrape, 2 * CYCLE))
                busy = list(cycles(daemon, scrape, options.seconds))
            right = is_true(daemon, movement.truth)
            used = memory(daemon.pid)
        others = [
            line
            for mode in (MODES if options.kminion else ())
            for line in measure_kminion(
                options.kminion, cluster, scale, mode, folder, options.seconds
            )
        ]
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
    print(
        f"  memory, peak          {used.peak_mb:.0f} MB ({peaks}), now {used.proportional_mb:.0f}"
    )
    print(f"  lags at the end       {'all right' if right else 'WRONG'}")
    print("\n".join(others))
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
