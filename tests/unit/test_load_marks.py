"""Messages of `load`: those of this run carry a mark, all others are ignored."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest

from exporter.load import Load, Result, Step
from exporter.load.clients import Delivery
from exporter.load.marks import MARK_BYTES, RUN_BYTES, RunMark

TWELVE_DAYS = 2**40 / 1_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic time, in a list of one."""
    now = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_mark_tells_when_a_message_was_sent(clock: list[float]) -> None:
    run = RunMark()
    clock[0] += 5.25
    mark = run.now()
    assert len(mark) == MARK_BYTES
    clock[0] += 8.5
    for padding in (b"", os.urandom(92)):
        assert run.sent_at(mark + padding) == pytest.approx(1_005.25, abs=1e-5)


def test_a_mark_is_valid_in_a_run_of_weeks(clock: list[float]) -> None:
    run = RunMark()
    for _ in range(5):
        clock[0] += 0.9 * TWELVE_DAYS
        mark = run.now()
        clock[0] += 8.0
        assert run.sent_at(mark) == pytest.approx(clock[0] - 8.0, abs=1e-5)


def test_messages_of_others_have_no_time(clock: list[float]) -> None:
    run, other = RunMark(b"abc"), RunMark(b"abd")
    clock[0] += 60.0
    late = (61 * 1_000_000).to_bytes(MARK_BYTES - RUN_BYTES)
    for body in (
        b"",
        b"abc",
        run.now()[:-1],
        other.now(),
        b"abc" + late,  # sent in a second from now
        b'{"id": 1, "customer": 7}',
        struct.pack(">d", 1_700_000_000.0) + bytes(92),  # of an older version
        bytes(100),
    ):
        assert run.sent_at(body) is None, body


def test_few_random_messages_look_like_ours(clock: list[float]) -> None:
    run = RunMark()
    clock[0] += 3_600.0
    assert not any(run.sent_at(os.urandom(20)) for _ in range(50_000))


def test_two_runs_have_different_marks() -> None:
    assert len({RunMark().now()[:RUN_BYTES] for _ in range(100)}) > 90


class Queue:
    """A workload in memory."""

    broken: tuple[type[Exception], ...] = (OSError,)

    def __init__(self, *old: bytes) -> None:
        self.bodies = deque(old)
        self.finished: list[bytes] = []
        self.rejected: list[bytes] = []

    def prepare(self, consumers: int) -> None:
        pass

    def sender(self) -> Queue:
        return self

    def receiver(self) -> Queue:
        return self

    def send(self, bodies: Sequence[bytes]) -> int:
        self.bodies.extend(bodies)
        return 0

    def receive(self, seconds: float) -> Delivery | None:
        try:
            return Delivery(self.bodies.popleft(), None)
        except IndexError:
            time.sleep(0.01)
            return None

    def finish(self, delivery: Delivery) -> None:
        self.finished.append(delivery.body)

    def reject(self, delivery: Delivery) -> None:
        self.rejected.append(delivery.body)
        self.bodies.append(delivery.body)

    def close(self) -> Any:
        return 0


def test_messages_of_others_are_consumed_and_not_counted() -> None:
    strangers = [os.urandom(100) for _ in range(500)]
    queue = Queue(*strangers)
    results: list[Result] = []
    steps = [
        Step(rate=100.0, seconds=1.0, consumers=0),
        Step(rate=0.0, seconds=2.0, consumers=1, takes=1_000.0, fails=0.2),
    ]
    Load(queue).run(steps, threading.Event(), results.append)
    waiting, catching_up = results
    assert waiting.foreign == waiting.processed == 0
    assert catching_up.foreign == len(strangers)
    assert catching_up.processed == waiting.sent > 0
    assert set(queue.finished) >= set(strangers)
    assert set(queue.rejected).isdisjoint(strangers)
    assert catching_up.rejected == len(queue.rejected)
    # The consumer needs half a second for the messages of others, before ours.
    assert catching_up.mean is not None
    assert 0.4 < catching_up.mean < 5.0
    assert (catching_up.p50 or 0) > 0.4
