"""The one boundary around tasks: timing, failures, recovery, early runs, an end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NoReturn

import pytest

from exporter.model import CollectError, Deadline, Discovery, Observation, Problem, Reason
from exporter.schedule import Outcome, Runner, Task, next_due

PATIENCE = 60.0


def runner(
    run: Callable[[Deadline], Observation],
    *,
    interval: float = 0.02,
    accept: Callable[[Observation], None] = lambda _: None,
    due_early: Callable[[], bool] = lambda: False,
    after: Callable[[], None] = lambda: None,
) -> Runner:
    task = Task("s", "backlog", interval, 5.0, run, accept, due_early)
    return Runner(task, Outcome(last_success=1.0), after)


def fails(reason: Reason) -> Callable[[Deadline], Observation]:
    def run(_: Deadline) -> Observation:
        raise CollectError(reason, "no answer")

    return run


def test_a_whole_answer_is_a_success() -> None:
    one = runner(lambda _: Discovery())
    one.run_once()
    assert (one.outcome.success, one.outcome.reached, one.outcome.failures) == (True, True, {})
    assert one.outcome.last_success > 1.0


def test_a_partial_answer_is_used_and_counted() -> None:
    taken: list[Observation] = []
    part = Discovery((Problem("timeout", "group g", "no answer"),))
    one = runner(lambda _: part, accept=taken.append)
    one.run_once()
    assert taken == [part]
    assert (one.outcome.success, one.outcome.reached) == (False, True)
    assert one.outcome.failures == {"partial": 1}
    assert one.outcome.last_success == 1.0


@pytest.mark.parametrize("reason", ["timeout", "unreachable", "unauthorized", "invalid"])
def test_a_failure_is_counted_by_its_reason(reason: Reason) -> None:
    one = runner(fails(reason))
    one.run_once()
    one.run_once()
    assert (one.outcome.success, one.outcome.reached) == (False, False)
    assert one.outcome.failures == {reason: 2}
    assert one.outcome.message == "no answer"


def test_a_bug_in_a_task_or_behind_it_is_an_internal_failure() -> None:
    def crash(_: object) -> NoReturn:
        raise ZeroDivisionError

    for one in (runner(crash), runner(lambda _: Discovery(), accept=crash)):
        one.run_once()
        assert one.outcome.failures == {"internal": 1}


def test_recovery_clears_the_fault_and_keeps_the_count() -> None:
    broken = [True]

    def run(_: Deadline) -> Observation:
        if broken:
            broken.pop()
            raise CollectError("unreachable", "no broker")
        return Discovery()

    one = runner(run)
    one.run_once()
    one.run_once()
    assert (one.outcome.success, one.outcome.reason, one.outcome.message) == (True, None, "")
    assert one.outcome.failures == {"unreachable": 1}


def test_runs_follow_each_other_until_the_end() -> None:
    runs = threading.Semaphore(0)

    def run(_: Deadline) -> Observation:
        runs.release()
        return Discovery()

    one = runner(run)
    one.start()
    for _ in range(5):
        assert runs.acquire(timeout=PATIENCE)
    one.stop()
    assert one.join(PATIENCE)


def test_a_task_runs_before_its_time_when_it_is_asked_to() -> None:
    runs = threading.Semaphore(0)
    early = threading.Event()

    def run(_: Deadline) -> Observation:
        runs.release()
        return Discovery()

    one = runner(run, interval=3600.0, due_early=early.is_set)
    one.start()
    assert runs.acquire(timeout=PATIENCE)
    early.set()
    assert runs.acquire(timeout=PATIENCE)
    one.stop()
    assert one.join(PATIENCE)


@pytest.mark.parametrize(
    ("case", "now", "refused", "due"),
    [
        ("in time", 101.0, 0, 110.0),
        ("before its time: the regular run is not put off", 95.0, 0, 100.0),
        ("longer than the interval: nothing is caught up with", 135.0, 0, 135.0),
        ("refused once", 101.0, 1, 110.0),
        ("refused again", 101.0, 2, 120.0),
        ("refused for long", 101.0, 30, 160.0),
    ],
)
def test_when_a_task_is_due_again(case: str, now: float, refused: int, due: float) -> None:
    assert (case, next_due(100.0, now, 10.0, refused)) == (case, due)


def test_what_a_task_brings_after_its_end_is_not_taken() -> None:
    entered, leave = threading.Event(), threading.Event()
    taken: list[Observation] = []

    def run(_: Deadline) -> Observation:
        entered.set()
        leave.wait(PATIENCE)
        return Discovery()

    one = runner(run, accept=taken.append)
    one.start()
    assert entered.wait(PATIENCE)
    one.stop()
    leave.set()
    assert one.join(PATIENCE)
    assert taken == []
