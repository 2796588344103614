"""Running tasks: timing, failures, recovery, early runs, stopping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NoReturn

import pytest
import structlog.testing

from exporter.model import CollectError, Deadline, Discovery, Observation, Problem, Reason
from exporter.sources.schedule import Outcome, Runner, Task, next_due
from testbed.waiting import wait_until

PATIENCE = 60.0


def runner(
    run: Callable[[Deadline], Observation],
    *,
    interval: float = 0.02,
    accept: Callable[[Observation], None] = lambda _: None,
    due_early: Callable[[], bool] = lambda: False,
    after: Callable[[], None] = lambda: None,
    follows: bool = False,
    deadline: float = 5.0,
    grace: float = 0.0,
) -> Runner:
    task = Task("s", "backlog", interval, deadline, run, accept, due_early, follows, grace)
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
    part = Discovery(problems=(Problem("timeout", "group g", "no answer"),))
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


# The log


def test_a_second_failure_with_the_same_reason_is_logged_too() -> None:
    """And only once, however often it occurs."""
    answers: list[Observation | CollectError] = [
        Discovery(problems=(Problem("timeout", "partition 3", "timed out"),)),
        Discovery(problems=(Problem("timeout", "partition 3", "the partition has no leader"),)),
        Discovery(problems=(Problem("timeout", "partition 3", "the partition has no leader"),)),
        CollectError("unreachable", "no broker"),
        CollectError("unreachable", "no broker"),
        Discovery(),
    ]

    def run(_: Deadline) -> Observation:
        answer = answers.pop(0)
        if isinstance(answer, CollectError):
            raise answer
        return answer

    with structlog.testing.capture_logs() as lines:
        one = runner(run)
        while answers:
            one.run_once()
    said = [(line["event"], line.get("error")) for line in lines if line["log_level"] != "debug"]
    assert said == [
        ("task.partial", "timed out"),
        ("task.problem_ended", "timed out"),
        ("task.partial", "the partition has no leader"),
        ("task.failed", "no broker"),
        ("task.problem_ended", "the partition has no leader"),
        ("task.problem_ended", "no broker"),
        ("task.recovered", None),
    ]
    assert all((line["source"], line["task"]) == ("s", "backlog") for line in lines)


# Stuck loops


@pytest.mark.parametrize("follows", [False, True])
def test_a_fault_around_the_runs_does_not_end_the_task(*, follows: bool) -> None:
    runs = threading.Semaphore(0)

    def run(_: Deadline) -> Observation:
        runs.release()
        return Discovery()

    def crash() -> NoReturn:
        raise OSError("no space left on device")

    with structlog.testing.capture_logs() as lines:
        one = runner(run, interval=0.01, after=crash, follows=follows)
        one.start()
        for _ in range(5):
            one.wake()
            assert runs.acquire(timeout=PATIENCE)
        assert one.fault(time.monotonic()) is None
        one.stop()
        assert one.join(PATIENCE)
    assert [line["event"] for line in lines] == ["task.turn_failed"], "once, not each time"


def test_a_fault_behind_a_run_does_not_keep_those_waiting_that_follow() -> None:
    def crash() -> NoReturn:
        raise OSError("no space left on device")

    follower = Counted(0.001, follows=True)
    before = runner(lambda _: Discovery(), after=crash)
    before.leads(follower.runner)
    for each in (follower.runner, before):
        each.start()
    for _ in range(3):
        assert follower.ran()
    before.stop()
    assert before.join(PATIENCE)
    follower.end()


@pytest.mark.parametrize("follows", [False, True])
def test_a_run_that_does_not_return_is_noticed_in_time(*, follows: bool) -> None:
    """Three intervals, the deadline and the grace time: not sooner, and not much later."""
    entered, leave = threading.Event(), threading.Event()

    def run(_: Deadline) -> Observation:
        entered.set()
        leave.wait(PATIENCE)
        return Discovery()

    one = runner(run, interval=10.0, deadline=5.0, grace=62.0, follows=follows)
    one.start()
    one.wake()
    assert entered.wait(PATIENCE)
    now = time.monotonic()
    limit = 3 * 10.0 + 5.0 + 62.0
    assert one.fault(now + limit - 5.0) is None
    fault = one.fault(now + limit + 0.1)
    assert fault is not None
    assert fault.startswith("no sign of life for 9")
    leave.set()
    wait_until(lambda: one.fault(now + 40.0) is not None, "the beat of the wait, which is shorter")
    assert one.fault(time.monotonic()) is None
    one.stop()
    assert one.join(PATIENCE)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ended_is_noticed_at_once() -> None:
    def leave() -> NoReturn:
        raise SystemExit

    one = runner(lambda _: Discovery(), after=leave)
    assert one.fault(time.monotonic()) is None, "it has not begun"
    one.start()
    one._thread.join(PATIENCE)
    assert one.fault(time.monotonic()) == "its thread has ended"
    one.stop()
    assert one.fault(time.monotonic()) is None, "as it should"


@pytest.mark.parametrize("reason", ["unauthorized", "timeout"])
def test_a_task_that_waits_long_is_alive(reason: Reason) -> None:
    """Two attempts after refusals are six intervals apart: more than the three of a heartbeat."""
    one = runner(fails(reason), interval=30.0, deadline=1.0)
    one._refused = 10
    one.start()
    wait_until(lambda: one.outcome.runs, "a run")
    first = one.pulse._beat
    wait_until(lambda: one.pulse._beat > first, "the next sign of life", 5.0)
    assert one.fault(time.monotonic()) is None
    one.stop()
    assert one.join(PATIENCE)


def test_a_task_that_is_not_woken_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.sources.schedule.BEAT_SECONDS", 0.01)
    one = runner(lambda _: Discovery(), interval=0.01, deadline=0.01, follows=True)
    one.start()
    wait_until(lambda: one.pulse._beat[0] > 0, "the first sign of life")
    first = one.pulse._beat
    wait_until(lambda: one.pulse._beat[0] > first[0] + 0.1, "further ones", 5.0)
    assert one.outcome.runs == 0
    one.stop()
    assert one.join(PATIENCE)


# A task that follows another


class Counted:
    """A task that a test can wait for."""

    def __init__(self, interval: float, *, fails: bool = False, follows: bool = False) -> None:
        self.entered = threading.Semaphore(0)
        self.leave = threading.Semaphore(0)
        """Released once for each run that may end; used only if `holds`."""
        self.holds = False
        self.fails = fails
        self.runner = runner(self._run, interval=interval, follows=follows)

    def _run(self, _: Deadline) -> Observation:
        self.entered.release()
        if self.holds:
            self.leave.acquire(timeout=PATIENCE)
        if self.fails:
            raise CollectError("unreachable", "no broker")
        return Discovery()

    def ran(self) -> bool:
        return self.entered.acquire(timeout=PATIENCE)

    def wake_and_wait(self) -> None:
        """Wake it, and return when it has noticed. Earlier runs have ended by then."""
        self.runner.wake()
        wait_until(lambda: not self.runner._woken.is_set(), "the task to wake")

    def end(self) -> int:
        """Stop, and return the number of runs that were not waited for."""
        self.runner.stop()
        assert self.runner.join(PATIENCE)
        runs = 0
        while self.entered.acquire(blocking=False):
            runs += 1
        return runs


@pytest.mark.parametrize("fails", [False, True])
def test_a_task_that_follows_runs_behind_each_run_of_the_one_before(*, fails: bool) -> None:
    before = Counted(0.02, fails=fails)
    follower = Counted(0.001, follows=True)
    before.runner.leads(follower.runner)
    for each in (follower, before):
        each.runner.start()
    for _ in range(5):
        assert before.ran()
        assert follower.ran()
    before.end()
    follower.end()


def test_a_task_that_follows_does_not_run_by_the_clock() -> None:
    before = Counted(3600.0)
    before.holds = True
    follower = Counted(0.001, follows=True)
    before.runner.leads(follower.runner)
    for each in (follower, before):
        each.runner.start()
    assert before.ran()
    assert follower.end() == 0, "the one before is still at it"
    before.leave.release()
    assert before.end() == 0


def test_a_task_that_follows_keeps_to_its_own_interval() -> None:
    follower = Counted(3600.0, follows=True)
    follower.runner.start()
    follower.runner.wake()
    assert follower.ran()
    for _ in range(3):
        follower.wake_and_wait()
    assert follower.end() == 0


def test_what_wakes_a_task_while_it_runs_has_it_run_again() -> None:
    follower = Counted(0.0, follows=True)
    follower.holds = True
    follower.runner.start()
    follower.runner.wake()
    assert follower.ran()
    for _ in range(3):
        follower.runner.wake()
    follower.leave.release()
    assert follower.ran()
    follower.leave.release()
    assert follower.end() == 0, "once, however often it was woken"


def test_a_task_that_was_never_woken_can_be_stopped() -> None:
    follower = Counted(3600.0, follows=True)
    follower.runner.start()
    assert follower.end() == 0


def test_a_task_that_is_stopped_while_it_runs_is_not_woken_again() -> None:
    follower = Counted(0.0, follows=True)
    follower.holds = True
    follower.runner.start()
    follower.runner.wake()
    assert follower.ran()
    follower.runner.wake()
    follower.runner.stop()
    follower.leave.release()
    assert follower.end() == 0
