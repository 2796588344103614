"""What a process and its children cost, as the kernel counts it (Linux)."""

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
    """Of a process and its descendants, in MB (of 2**20 bytes)."""

    peaks_mb: list[float]
    """Each one's own peak of resident memory, the first process first."""
    proportional_mb: float
    """Of all together now, with shared pages divided among those who share them (PSS)."""

    @property
    def peak_mb(self) -> float:
        """The sum of the peaks: pages that they share count for each, and the peaks need not coincide."""
        return sum(self.peaks_mb)


def process_tree(pid: int) -> tuple[int, ...]:
    """Return the process and its descendants."""
    root = psutil.Process(pid)
    return (pid, *sorted(child.pid for child in root.children(recursive=True)))


def cpu_seconds(pid: int) -> Mapping[int, float]:
    """Return the CPU time that each process of the tree has used so far, to the nanosecond."""
    return {one: _cpu_clock(one) for one in process_tree(pid)}


def cpu_between(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """Return the CPU seconds used in between, by those who were there after."""
    return sum(used - before.get(pid, 0.0) for pid, used in after.items())


def _cpu_clock(pid: int) -> float:
    # The clock of another process, as the C library's clock_getcpuclockid makes its number: unlike the
    # times in /proc it does not count in steps of 10 ms, and it has the threads that are over.
    return time.clock_gettime((~pid << 3) | 2)


def memory(pid: int) -> Memory:
    """Return what the process and its descendants hold."""
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
