"""Runs each task of a source at its interval: the one place where a task is timed, its failure logged and counted."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from exporter.model import CollectError, Deadline, Observation, Problem, Reason, Until

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
LOGGED_PROBLEMS = 5


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
        self.message = message
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
        self._reported: tuple[Reason, str] | None = None
        self._thread = threading.Thread(
            target=self._follow if task.follows else self._loop,
            name=f"{task.source}/{task.name}",
            daemon=True,
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
            message = f"{type(error).__name__}: {error}"
            if message != outcome.message:
                self._log.exception("task.crashed")
            outcome.fail("internal", message)
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
        self._report(problems)
        self._after()

    def _report(self, problems: Sequence[Problem]) -> None:
        """Log the change from good to bad, from one fault to another, and back; not each failing run."""
        outcome = self.outcome
        if outcome.reason is None:
            if self._reported is not None:
                self._log.info("task.recovered", seconds=round(outcome.duration, 3))
            self._reported = None
            return
        fault = (outcome.reason, outcome.message)
        known, self._reported = self._reported, fault
        if known is not None and known[0] == fault[0]:
            self._log.debug("task.failed_again", reason=fault[0], error=fault[1])
        elif outcome.reason == "partial":
            self._log.warning(
                "task.answered_in_part",
                missing=len(problems),
                examples=[
                    f"{p.subject}: {p.message} ({p.reason})" for p in problems[:LOGGED_PROBLEMS]
                ],
            )
        else:
            self._log.warning("task.failed", reason=fault[0], error=fault[1])

    def _loop(self) -> None:
        interval = self.task.interval
        phase = random.uniform(0.0, PHASE * interval)  # noqa: S311 - keeps sources apart, guards nothing
        due = time.monotonic()
        refused = 0
        while not self._stop.is_set():
            self.run_once()
            for follower in self._followers:
                follower.wake()
            refused = refused + 1 if self.outcome.reason in BACK_OFF else 0
            due = next_due(due, time.monotonic(), interval, refused)
            self._wait(due + phase)

    def _follow(self) -> None:
        """Run whenever the task before has run, and not much more often than the task's own interval says."""
        due = time.monotonic()
        while True:
            self._woken.wait()
            self._woken.clear()
            if self._stop.is_set():
                return
            now = time.monotonic()
            if now >= due:
                due = now + self.task.interval * SOONEST
                self.run_once()

    def _wait(self, due: float) -> None:
        """Wait until the task is due, or due early, or to be stopped."""
        early_from = time.monotonic() + min(self.task.interval, 2 * TICK)
        while not self._stop.is_set():
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
