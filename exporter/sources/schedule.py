"""Runs each task of a source at its interval. Only here runs are timed and failures counted."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from exporter.liveness import Pulse
from exporter.model import CollectError, Deadline, Observation, Problem, Reason, Until
from exporter.scrub import scrub
from exporter.task_log import LogLimiter, TaskLog, is_exhaustion, said

PHASE = 0.1
"""Maximum of a random delay that spreads tasks, as a fraction of the interval."""
SOONEST = 0.7
"""Fraction of its interval after which a task that follows another may run again."""
TICK = 0.25
"""Seconds between two checks whether a task is due early."""
BACK_OFF: frozenset[Reason] = frozenset({"unauthorized"})
"""Failures that a retry does not fix and may make worse (locked accounts)."""
BACK_OFF_LIMIT = 6
"""Maximum number of intervals between two attempts."""
BEAT_SECONDS = 5.0
"""Seconds between two heartbeats of a task that waits for the one before it."""
LONGEST = 600
"""Maximum length of a failure's message. It may include a name from a broker."""
LATE = 3
"""A task's loop is stuck after this many intervals plus the maximum duration of a run."""


@dataclass(slots=True)
class Outcome:
    """The result of a task's last run, and totals of all its runs."""

    success: bool = False
    reached: bool = False
    """Whether there was an answer, if only a partial one."""
    duration: float = 0.0
    """Seconds."""
    last_success: float = 0.0
    """Unix time; until the first success, the time at which the daemon started."""
    failures: dict[Reason, int] = field(default_factory=dict)
    reason: Reason | None = None
    message: str = ""
    runs: int = 0
    unreadable: int = 0
    """Rows of responses that were ignored because a field was invalid."""

    def fail(self, reason: Reason, message: str) -> None:
        """Record a failure or a partial answer."""
        self.success = False
        self.reason = reason
        text = scrub(message)
        self.message = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
        self.failures[reason] = self.failures.get(reason, 0) + 1


@dataclass(frozen=True, slots=True)
class Task:
    """One task of one source."""

    source: str
    name: str
    interval: float
    deadline: float
    run: Callable[[Deadline], Observation]
    accept: Callable[[Observation], None]
    """Called with the observation."""
    due_early: Callable[[], bool] = lambda: False
    follows: bool = False
    """Whether it runs after another task instead of by the clock."""
    grace: float = 0.0
    """Seconds that a run may take beyond its deadline."""
    early_after: float = 0.0
    """Fraction of the interval after which it may run early."""


class Runner:
    """Runs one task in a thread, at its interval, until it is stopped."""

    def __init__(self, task: Task, outcome: Outcome, after: Callable[[], None]) -> None:
        """`after` is called after each run, successful or not."""
        self.task = task
        self.outcome = outcome
        self._after = after
        self._stop = threading.Event()
        self._woken = threading.Event()
        self._followers: list[Runner] = []
        self._log = structlog.get_logger(__name__).bind(source=task.source, task=task.name)
        self._task_log = TaskLog(self._log)
        self._faults_logged = LogLimiter()
        self.pulse = Pulse(f"task {task.name} of source {task.source}")
        self._phase = random.uniform(0.0, PHASE * task.interval)  # noqa: S311 - only spreads the load
        self._due = 0.0
        self._early_from = math.inf
        """When a task that follows another may run without it."""
        self._refused = 0
        self._thread = threading.Thread(
            target=self._loop, name=f"{task.source}/{task.name}", daemon=True
        )

    def start(self) -> None:
        """Start the thread. The first run begins immediately."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the present run, which may take until its deadline."""
        self._stop.set()
        self._woken.set()

    def leads(self, follower: Runner) -> None:
        """Wake `follower` after each run."""
        self._followers.append(follower)

    def wake(self) -> None:
        """Run a task that follows another: now, or after the present run."""
        self._woken.set()

    def fault(self, now: float) -> str | None:
        """Return what is wrong with the loop; None if it is alive."""
        return None if self._stop.is_set() else self.pulse.fault(now)

    def join(self, timeout: float) -> bool:
        """Wait for the thread to end; return whether it has."""
        if self._thread.ident is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def run_once(self) -> None:
        """Run the task now and record the outcome. Never raises."""
        task, outcome = self.task, self.outcome
        started = time.monotonic()
        began = time.time()
        problems: Sequence[Problem] = ()
        crash: Exception | None = None
        try:
            observation = task.run(Until(task.deadline))
            if self._stop.is_set():
                return
            task.accept(observation)
            problems = observation.problems
            outcome.unreadable += getattr(observation, "unreadable", 0)
        except CollectError as error:
            if self._stop.is_set():
                return
            outcome.reached = False
            outcome.fail(error.reason, str(error))
        except Exception as error:  # noqa: BLE001 - a bug in one task must not end the daemon
            outcome.reached = False
            outcome.fail("internal", said(error))
            crash = None if is_exhaustion(error) else error
        else:
            outcome.reached = True
            if problems:
                first = problems[0]
                outcome.fail("partial", f"{first.subject}: {first.message}")
            else:
                outcome.success = True
                outcome.reason, outcome.message = None, ""
                outcome.last_success = began
        outcome.duration = time.monotonic() - started
        outcome.runs += 1
        self._report(problems, crash)
        self._after()

    def _report(self, problems: Sequence[Problem], crash: Exception | None) -> None:
        outcome, now = self.outcome, time.monotonic()
        if outcome.reached:
            self._task_log.answered(problems, now)
        elif outcome.reason is not None:
            self._task_log.failed(outcome.reason, outcome.message, now, crash)
        if outcome.reason is not None:
            self._log.debug("task.run_failed", reason=outcome.reason, error=outcome.message)

    def _loop(self) -> None:
        """Run the task until stopped. An exception outside of the runs does not end the loop."""
        turn = self._turn_after_another if self.task.follows else self._turn_by_the_clock
        self._due = time.monotonic()
        while not self._stop.is_set():
            try:
                turn()
            except Exception as error:  # noqa: BLE001 - a bug around the runs must not end the task
                if self._faults_logged.allows(repr(error), time.monotonic()):
                    self._log.exception("task.turn_failed")
                self._beat()
                self._stop.wait(self.task.interval)

    def _turn_by_the_clock(self) -> None:
        """Run the task, then wait until it is due again."""
        try:
            self._beat(self.task.grace)
            self.run_once()
        finally:
            for follower in self._followers:
                follower.wake()
        self._refused = self._refused + 1 if self.outcome.reason in BACK_OFF else 0
        self._due = next_due(self._due, time.monotonic(), self.task.interval, self._refused)
        self._wait(self._due + self._phase)

    def _turn_after_another(self) -> None:
        """Run the task after the one before it, but not much more often than its own interval.

        If it is due early, it runs once more in between.
        """
        self._beat()
        early_after = self.task.early_after * self.task.interval
        woken = self._woken.wait(min(BEAT_SECONDS, early_after or BEAT_SECONDS))
        if woken:
            self._woken.clear()
        now = time.monotonic()
        if self._stop.is_set():
            return
        if woken and now >= self._due:
            self._due = now + self.task.interval * SOONEST
            self._early_from = now + early_after - TICK if early_after else math.inf
        elif now >= self._early_from and self.task.due_early():
            self._early_from = math.inf
        else:
            return
        self._beat(self.task.grace)
        self.run_once()

    def _beat(self, more: float = 0.0) -> None:
        """Send a heartbeat. The next one follows within some intervals plus a run plus `more` s."""
        within = LATE * self.task.interval + self.task.deadline + more
        self.pulse.beat(time.monotonic(), within, self._thread)

    def _wait(self, due: float) -> None:
        """Wait until the task is due, due early, or stopped."""
        interval = self.task.interval
        early_from = time.monotonic() + max(
            min(interval, 2 * TICK), self.task.early_after * interval - TICK
        )
        while not self._stop.is_set():
            self._beat()
            now = time.monotonic()
            if now >= due:
                return
            if now >= early_from and self.task.due_early():
                return
            self._stop.wait(min(TICK, due - now))


def next_due(due: float, now: float, interval: float, refused: int) -> float:
    """Return when a task is due after a run that ended at `now`.

    `refused` is the number of consecutive failures of `BACK_OFF`. An early run does not change when
    the task is due. Intervals that a long run missed are skipped.
    """
    if now < due:
        return due
    doubled = 1 << min(max(refused - 1, 0), BACK_OFF_LIMIT)
    return max(due + interval * min(doubled, BACK_OFF_LIMIT), now)
