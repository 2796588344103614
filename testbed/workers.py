"""Consumers as processes, each of a fixed speed, and a pool that follows a wanted number of them.

Run as a program, this is one consumer: `python -m testbed.workers '{"system": "kafka", ...}'`.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from exporter.load.making import workload_of
from testbed.background import Background

STOP_SECONDS = 15.0
TICK = 0.1


class Work(NamedTuple):
    """What one consumer reads, and how fast."""

    system: str
    address: str
    destination: str
    group: str
    rate: float
    """Messages a second."""
    settings: dict[str, str]
    """Settings of the client, for Kafka."""


def consume(work: Work, stop: threading.Event) -> None:
    """Consume until `stop` is set."""
    workload = workload_of(work.system, work.address, work.destination, work.group)
    if work.settings:
        workload.settings.update(work.settings)  # type: ignore[attr-defined]
    workload.prepare(1)
    receiver = workload.receiver()
    due = time.monotonic()
    try:
        while not stop.is_set():
            delivery = receiver.receive(TICK)
            if delivery is None:
                due = time.monotonic()
                continue
            due += 1 / work.rate
            stop.wait(max(due - time.monotonic(), 0.0))
            receiver.finish(delivery)
    finally:
        receiver.close()


class Pool(Background):
    """As many consumers as a file says; a context manager."""

    def __init__(self, work: Work, wanted: Path, initial: int) -> None:
        super().__init__()
        self.changes: list[tuple[float, int]] = [(time.monotonic(), initial)]
        """When the wanted number changed, and to what."""
        self._work = work
        self._wanted = wanted
        self._running: list[subprocess.Popen[bytes]] = []
        wanted.write_text(str(initial))

    @property
    def count(self) -> int:
        """The wanted number."""
        return self.changes[-1][1]

    def _run(self) -> None:
        try:
            while not self._stopping.wait(TICK):
                count = int(self._wanted.read_text() or self.count)
                if count != self.count:
                    self.changes.append((time.monotonic(), count))
                self._fit(count)
        finally:
            self._fit(0)

    def _fit(self, count: int) -> None:
        while len(self._running) < count:
            line = [sys.executable, "-m", "testbed.workers", json.dumps(self._work._asdict())]
            self._running.append(subprocess.Popen(line))
        leaving, self._running = self._running[count:], self._running[:count]
        for process in leaving:
            process.terminate()
        for process in leaving:
            process.wait(STOP_SECONDS)


def main() -> None:
    """Consume until SIGTERM."""
    work: dict[str, Any] = json.loads(sys.argv[1])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    consume(Work(**work), stop)


if __name__ == "__main__":
    main()
