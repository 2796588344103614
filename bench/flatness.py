"""Checks that the resources of a process and its children do not grow during a run."""

from __future__ import annotations

import itertools
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.processes import process_tree

WARM_UP = 0.3
"""Fraction of the run that is ignored: caches fill, histories reach their full length."""
MOST_POINTS = 300
RISES = {"memory_mb": (8.0, 0.06), "descriptors": (20.0, 0.1), "threads": (10.0, 0.1)}
"""Permitted growth over the run: an amount, or a fraction of the mean if that is more.

After a broker or a child was killed, its connections come back one by one as tasks need them: up to
16 to an HTTP API.
"""


@dataclass
class Flatness:
    """Samples of one process and its descendants."""

    pid: int
    times: list[float] = field(default_factory=list)
    samples: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in RISES})

    def sample(self) -> None:
        """Take a sample. It is ignored if a process ends meanwhile."""
        memory = descriptors = threads = 0.0
        try:
            for pid in process_tree(self.pid):
                process = psutil.Process(pid)
                memory += _pss_mb(pid)
                descriptors += process.num_fds()
                threads += process.num_threads()
        except (psutil.Error, OSError):
            return
        self.times.append(time.monotonic())
        for name, value in zip(RISES, (memory, descriptors, threads), strict=True):
            self.samples[name].append(value)

    def report(self) -> tuple[list[str], bool]:
        """Return a line for each resource, and whether none of them grows."""
        lines, flat = [], True
        first = self._first()
        for name, values in self.samples.items():
            late = values[first:]
            rise, mean = self.rise(name), statistics.mean(late)
            amount, part = RISES[name]
            good = rise <= max(amount, part * mean)
            flat &= good
            lines.append(
                f"{name}: mean {mean:.1f}, from {min(late):.0f} to {max(late):.0f}, "
                f"last {late[-1]:.0f}, rise {rise:+.1f} over the run{'' if good else ': NOT FLAT'}"
            )
        return lines, flat

    def rise(self, name: str) -> float:
        """Return the growth over the sampled time.

        The slope is that of Theil and Sen: the median of the slopes between any two samples.
        """
        first = self._first()
        step = max((len(self.times) - first) // MOST_POINTS, 1)
        points = list(zip(self.times, self.samples[name], strict=True))[first::step]
        slopes = [
            (value - before) / (at - then)
            for (then, before), (at, value) in itertools.combinations(points, 2)
            if at > then
        ]
        return statistics.median(slopes) * (points[-1][0] - points[0][0])

    def _first(self) -> int:
        begin = self.times[0] + WARM_UP * (self.times[-1] - self.times[0])
        return next(index for index, at in enumerate(self.times) if at >= begin)


def _pss_mb(pid: int) -> float:
    with suppress(IndexError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        return float(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024
    raise OSError
