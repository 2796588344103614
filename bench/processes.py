"""CPU time and memory of a process and its children, as the Linux kernel counts them."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

MIB = 1024  # KiB


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a process and its descendants, in MB (2**20 bytes)."""

    peaks_mb: list[float]
    """Peak of resident memory of each process, the first process first."""
    proportional_mb: float
    """Of all together now; shared pages are divided among the processes that share them (PSS)."""

    @property
    def peak_mb(self) -> float:
        """Sum of the peaks: an upper bound, because shared pages count repeatedly."""
        return sum(self.peaks_mb)


def process_tree(pid: int) -> tuple[int, ...]:
    """Return the process and its descendants."""
    root = psutil.Process(pid)
    return (pid, *sorted(child.pid for child in root.children(recursive=True)))


def cpu_seconds(pid: int) -> Mapping[int, float]:
    """Return the CPU time of each process of the tree, with nanosecond resolution."""
    return {one: _cpu_clock(one) for one in process_tree(pid)}


def cpu_between(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """Return the CPU seconds used in between by the processes that exist in `after`."""
    return sum(used - before.get(pid, 0.0) for pid, used in after.items())


def _cpu_clock(pid: int) -> float:
    # The CPU clock of another process; clock_getcpuclockid of the C library computes this number.
    # Unlike the times in /proc, it has no resolution of 10 ms, and it includes ended threads.
    return time.clock_gettime((~pid << 3) | 2)


def memory(pid: int) -> Memory:
    """Return the memory of the process and its descendants."""
    tree = process_tree(pid)
    return Memory(
        peaks_mb=[_kib(one, "status", "VmHWM") / MIB for one in tree],
        proportional_mb=sum(_kib(one, "smaps_rollup", "Pss") for one in tree) / MIB,
    )


def _kib(pid: int, file: str, key: str) -> int:
    text = Path(f"/proc/{pid}/{file}").read_text(encoding="ascii")
    found = re.search(rf"^{key}:\s+(\d+) kB", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"/proc/{pid}/{file} has no {key}")
    return int(found[1])
