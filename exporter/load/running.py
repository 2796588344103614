"""Runs a workload step by step."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import cycle

from exporter.load.clients import Receiver, Sender, Workload
from exporter.load.marks import MARK_BYTES, RunMark
from exporter.load.steps import Step
from exporter.load.tally import Result, StepTally

TICK = 0.05
MOST_AT_ONCE = 5_000
"""Largest number of messages sent at once, to catch up after a broker was too slow."""
RETRY_SECONDS = 0.5
JOIN_SECONDS = 15.0


class Load:
    """One sender and as many receivers as the step wants, each in a thread."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._mark = RunMark()
        self._step = Step()
        self._tally = StepTally()
        self._count_lock = threading.Lock()
        """Guards the counts, so that nothing is counted in a step that has ended."""
        self._began = 0.0
        self._receivers: list[tuple[threading.Thread, threading.Event]] = []

    def run(
        self,
        steps: Sequence[Step],
        stop: threading.Event,
        report: Callable[[Result], object],
        *,
        repeat: bool = False,
    ) -> None:
        """Run the steps and pass each result to `report`.

        With `repeat`, repeat them until `stop` is set.

        Ends early if `stop` is set. Raises `LoadError`.
        """
        self._workload.prepare(max(step.consumers for step in steps))
        end = threading.Event()
        sender = threading.Thread(target=self._send, args=(end,), daemon=True)
        self._turn_to(steps[0])
        sender.start()
        try:
            for number, step in enumerate(cycle(steps) if repeat else steps):
                if number:
                    self._adjust(min(len(self._receivers), step.consumers))
                    report(self._turn_to(step))
                self._adjust(step.consumers)
                if stop.wait(step.seconds):
                    break
        finally:
            end.set()
            sender.join(JOIN_SECONDS)
            self._adjust(0)
        report(self._turn_to(self._step))

    def _turn_to(self, step: Step) -> Result:
        """Begin a step; return the result of the last one."""
        with self._count_lock:
            now = time.monotonic()
            result = self._tally.result(self._step, now - self._began)
            self._step, self._tally, self._began = step, StepTally(), now
        return result

    def _count(self, **more: int) -> None:
        with self._count_lock:
            self._tally.count(**more)

    def _done(self, latency: float) -> None:
        with self._count_lock:
            self._tally.done(latency)

    def _adjust(self, consumers: int) -> None:
        while len(self._receivers) < consumers:
            end = threading.Event()
            thread = threading.Thread(target=self._receive_until, args=(end,), daemon=True)
            self._receivers.append((thread, end))
            thread.start()
        gone = self._receivers[consumers:]
        del self._receivers[consumers:]
        for _, end in gone:
            end.set()
        for thread, _ in gone:
            thread.join(JOIN_SECONDS)

    def _send(self, end: threading.Event) -> None:
        sender: Sender | None = None
        owed, before = 0.0, time.monotonic()
        while not end.wait(TICK):
            step, now = self._step, time.monotonic()
            owed = min(owed + step.rate * (now - before), MOST_AT_ONCE)
            before = now
            count = int(owed)
            owed -= count
            if not count:
                continue
            padding = random.randbytes(step.size - MARK_BYTES)  # noqa: S311 - a load, no secret
            bodies = [self._mark.now() + padding for _ in range(count)]
            try:
                sender = sender or self._workload.sender()
                refused = sender.send(bodies)
            except self._workload.broken:
                if sender is not None:
                    with suppress(*self._workload.broken):
                        sender.close()
                sender = None
                self._count(refused=count)
                end.wait(RETRY_SECONDS)
            else:
                self._count(sent=count - refused, refused=refused)
        if sender is not None:
            try:
                self._count(refused=sender.close())
            except self._workload.broken:
                self._count(errors=1)

    def _receive_until(self, end: threading.Event) -> None:
        while not end.is_set():
            try:
                receiver = self._workload.receiver()
            except self._workload.broken:
                self._count(errors=1)
                end.wait(RETRY_SECONDS)
                continue
            try:
                self._receive(receiver, end)
            except self._workload.broken:
                self._count(errors=1)
                end.wait(RETRY_SECONDS)
            finally:
                with suppress(*self._workload.broken):
                    receiver.close()

    def _receive(self, receiver: Receiver, end: threading.Event) -> None:
        due = time.monotonic()
        while not end.is_set():
            step = self._step
            delivery = receiver.receive(4 * TICK)
            if delivery is None:
                continue
            if step.takes:
                due = max(due + 1.0 / step.takes, time.monotonic() - 1.0)
                end.wait(max(due - time.monotonic(), 0.0))
            sent_at = self._mark.sent_at(delivery.body)
            if sent_at is None:
                receiver.finish(delivery)
                self._count(foreign=1)
            elif random.random() < step.fails:  # noqa: S311 - chance
                receiver.reject(delivery)
                self._count(rejected=1)
            else:
                receiver.finish(delivery)
                self._done(time.monotonic() - sent_at)
