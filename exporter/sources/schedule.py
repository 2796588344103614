"""Runs each task of a source at its interval: the one place where a task is timed, its failure logged and counted."""

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
"""Part of the interval by which tasks are kept apart, chosen by chance."""
SOONEST = 0.7
"""Part of its interval that has to be over before a task that follows another runs again."""
TICK = 0.25
"""Seconds between two looks at whether a task is due early."""
BACK_OFF: frozenset[Reason] = frozenset({"unauthorized"})
"""Failures that trying again soon does not mend, and may make worse (locked accounts)."""
BACK_OFF_LIMIT = 6
"""Intervals between two tries at the most."""
BEAT_SECONDS = 5.0
"""Between two signs of life of a task that waits for the one before it."""
LONGEST = 600
"""Characters of a failure's message: it may hold a name that a broker gave."""
LATE = 3
"""Intervals, besides the time that a run may take, after which a task's loop is called stuck."""


@dataclass(slots=True)
class Outcome:
    """How the last run of a task went, and how all of them did."""

    success: bool = False
    reached: bool = False
    """Whether an answer came, if only a part."""
    duration: float = 0.0
    """Seconds."""
    last_success: float = 0.0
    """Unix time; the daemon's start until the first success."""
    failures: dict[Reason, int] = field(default_factory=dict)
    reason: Reason | None = None
    message: str = ""
    runs: int = 0
    unreadable: int = 0
    """Rows of replies that were left out because a field was not what it must be."""

    def fail(self, reason: Reason, message: str) -> None:
        """Note a failure, or a partial answer."""
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
    """Takes what was observed."""
    due_early: Callable[[], bool] = lambda: False
    follows: bool = False
    """Whether it runs when it is woken by the task before it, and not by the clock."""
    grace: float = 0.0
    """Seconds past its deadline that a run may take."""
    early_after: float = 0.0
    """Part of the interval that has to be over before it may run early."""


class Runner:
    """Runs one task in a thread, at its interval, until it is stopped."""

    def __init__(self, task: Task, outcome: Outcome, after: Callable[[], None]) -> None:
        """`after` is called behind each run, whatever became of it."""
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
        self._phase = random.uniform(0.0, PHASE * task.interval)  # noqa: S311 - keeps sources apart, guards nothing
        self._due = 0.0
        self._early_from = math.inf
        """When a task that follows may run without the one before."""
        self._refused = 0
        self._thread = threading.Thread(
            target=self._loop, name=f"{task.source}/{task.name}", daemon=True
        )

    def start(self) -> None:
        """Begin with a run at once."""
        self._thread.start()

    def stop(self) -> None:
        """Ask for an end; a run that is under way goes on to its deadline."""
        self._stop.set()
        self._woken.set()

    def leads(self, follower: Runner) -> None:
        """Wake `follower` after each run."""
        self._followers.append(follower)

    def wake(self) -> None:
        """Run a task that follows, now or behind the run that is under way."""
        self._woken.set()

    def fault(self, now: float) -> str | None:
        """Return what is wrong with the loop, or None."""
        return None if self._stop.is_set() else self.pulse.fault(now)

    def join(self, timeout: float) -> bool:
        """Wait for the end; tell whether it came."""
        if self._thread.ident is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def run_once(self) -> None:
        """Run the task now, and note how it went. Never raises."""
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
        except Exception as error:  # noqa: BLE001 - the boundary: one task's bug must not end the daemon
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
        """Take turns until stopped; a fault in what is around the runs does not end the task."""
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
        """Run, and wait until the task is due again."""
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
        """Run after the task before has run, and not much more often than the task's own interval says.

        One that is due early runs once more in between.
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
        """Give a sign of life: the next one comes within some intervals, the time of a run, and `more` seconds."""
        within = LATE * self.task.interval + self.task.deadline + more
        self.pulse.beat(time.monotonic(), within, self._thread)

    def _wait(self, due: float) -> None:
        """Wait until the task is due, or due early, or to be stopped."""
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
    """Return when a task is due after a run that ended `now`; `refused` counts refusals in a row.

    A run before its time moves nothing. A run that took longer than the interval is not caught up with.
    """
    if now < due:
        return due
    doubled = 1 << min(max(refused - 1, 0), BACK_OFF_LIMIT)
    return max(due + interval * min(doubled, BACK_OFF_LIMIT), now)
