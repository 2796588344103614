"""Runs a collector in a separate process, so that a crash of it ends nothing else.

librdkafka aborts the whole process on a failed assertion. A known one can be triggered by a
coordinator's return after a request for it timed out (confluentinc/librdkafka#4605). A daemon that
dies together with the cluster it watches would be useless. Here only the process that reads this
one cluster dies, and another replaces it.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection

import structlog

from exporter import logging_setup
from exporter.collectors.process.forking import EXHAUSTED, NURSERY, Child, not_started
from exporter.collectors.process.handover import Taker
from exporter.collectors.process.hazards import LEFT_OUT_SECONDS, Attempt, Suspects
from exporter.collectors.process.messages import (
    CLOSE,
    NOTE,
    READY,
    SURVEY,
    Setup,
    TaskAnswer,
    TaskRequest,
)
from exporter.model import CollectError, Deadline, Finding, Observation, Survey
from exporter.systems import module_of
from exporter.task_log import EXHAUSTION

GRACE = 2.0
"""Seconds after its deadline at which a running task is stopped by killing its process."""
RETRY_SHARE = 0.4
"""Fraction of a run's time that must be left for a second try after a crash."""
CLEAN_SECONDS = 1.0
"""Seconds for a process to clean up. A broker that hangs must not delay the end of the daemon."""
CLOSE_SECONDS = 2.0
START_SECONDS = 60.0
"""Seconds for a process to start."""

NOT_STARTED = "the process that reads the source could not be started: "


CRASHES = frozenset(
    -number
    for number in (
        signal.SIGABRT,
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGILL,
        signal.SIGFPE,
        signal.SIGTRAP,
    )
)
"""Exit codes of a crash, as opposed to a kill from outside."""


class WorkerDiedError(Exception):
    """The process ended while a request was pending."""


class IsolatedCollector:
    """Runs a collector's tasks in a child process.

    The process is started for the first task, and again when it is gone.
    """

    def __init__(
        self,
        system: str,
        setup: Setup,
        tasks: Sequence[str],
        follows: Mapping[str, str],
        early_after: Mapping[str, float] | None = None,
    ) -> None:
        self.system = system
        self.follows = follows
        self.early_after = early_after or {}
        """Task to the fraction of its interval after which it may run early."""
        self.tasks: Mapping[str, Callable[[Deadline], Observation]] = {
            task: partial(self._run, task) for task in tasks
        }
        self._setup = setup
        self._suspects = Suspects()
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._early: frozenset[str] = frozenset()
        self._closed = False
        self.restarts = 0
        """Number of times that the process ended unexpectedly and was replaced."""
        self.grace = START_SECONDS + GRACE + CLOSE_SECONDS
        """Seconds after its deadline that a run may take: a process starts, does not answer, and is
        killed.
        """
        self._log = structlog.get_logger(__name__).bind(source=setup.settings.name)

    def due_early(self, task: str) -> bool:
        """Return whether the last answer asked to run the task early."""
        with self._lock:
            due = task in self._early
            self._early -= {task}
        return due

    def check(self, deadline: Deadline) -> Sequence[Finding]:
        """Try each feature once."""
        findings: Sequence[Finding] = self._ask_again("check", deadline).value
        return findings

    def survey(self, deadline: Deadline, seconds: float) -> Survey:
        """Return all names, and which subscriptions have not moved for `seconds`."""
        survey: Survey = self._ask_again(SURVEY, deadline, seconds).value
        return survey

    def close(self) -> None:
        """Let the process clean up, then kill it; running tasks fail."""
        with self._lock:
            self._closed = True
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.clean_up(CLEAN_SECONDS)
            worker.end()

    def _run(self, task: str, deadline: Deadline) -> Observation:
        answer = self._ask_again(task, deadline)
        with self._lock:
            self._early |= answer.early
        logging_setup.drop(answer.lines_dropped)
        observation: Observation = answer.value
        return observation

    def _ask_again(self, task: str, deadline: Deadline, argument: float = 0.0) -> TaskAnswer:
        """Send a request; repeat it with a new process as long as each crash teaches something new.

        Raises `CollectError`.
        """
        whole = deadline.remaining()
        tries = 0
        while True:
            lessons = self._suspects.lessons
            tries += 1
            try:
                return self._ask(task, deadline, argument)
            except WorkerDiedError as death:
                learned = self._suspects.lessons > lessons
                if not learned and (tries > 1 or deadline.remaining() < whole * RETRY_SHARE):
                    raise CollectError("internal", str(death)) from None
                if deadline.remaining() <= 0:
                    raise CollectError("internal", str(death)) from None

    def _learn(self, attempts: Sequence[Sequence[str]]) -> None:
        """Learn from what the process asked for when it crashed.

        Called before its requests fail.
        """
        for part in self._suspects.learn(attempts, time.monotonic()):
            self._log.warning("worker.part_left_out", part=part, seconds=LEFT_OUT_SECONDS)

    def _ask(self, task: str, deadline: Deadline, argument: float) -> TaskAnswer:
        seconds = deadline.remaining()
        worker = self._alive()
        # If many processes start at once on a small machine, each takes long. That time is not the
        # task's.
        if not worker.ready.wait(START_SECONDS):
            worker.end()
            raise CollectError(
                "internal", "the process that reads the source did not start in time"
            )
        future = worker.ask(task, seconds, argument)
        try:
            answer = future.result(seconds + GRACE)
        except FutureTimeoutError:
            worker.end()
            raise CollectError(
                "timeout",
                f"the task did not finish within {GRACE:g} s after its deadline; "
                "its process was stopped",
            ) from None
        if answer.failure is not None:
            raise CollectError(*answer.failure)
        return answer

    def _alive(self) -> _Worker:
        with self._lock:
            if self._closed:
                raise CollectError("internal", "the collector is closed")
            if self._worker is None or self._worker.is_over:
                if self._worker is not None and self._worker.has_started:
                    self.restarts += 1
                    self._log.warning("worker.replaced", died_of=self._worker.death)
                self._worker = None
                try:
                    setup = replace(self._setup, suspicions=self._suspects.known)
                    self._worker = _Worker(setup, self._learn)
                except OSError as error:
                    raise CollectError(
                        "internal", NOT_STARTED + not_started(error.errno or 0)
                    ) from None
                except RuntimeError:
                    raise CollectError("internal", NOT_STARTED + EXHAUSTION) from None
            return self._worker


class _Worker:
    """One child process and its pending requests."""

    def __init__(self, setup: Setup, learn: Callable[[Sequence[Sequence[str]]], None]) -> None:
        """`learn` is called with what the process was asking for, if it crashes."""
        self._learn = learn
        self._attempts: dict[int, Sequence[str]] = {}
        self._child, ours = NURSERY.fork(module_of(setup.collector))
        self._connection = Connection(ours.detach())
        self._send_lock = threading.Lock()
        self._lock = threading.Lock()
        self._pending: dict[int, Future[TaskAnswer]] = {}
        self._taker = Taker()
        self._numbers = itertools.count()
        self.ready = threading.Event()
        """Set when the process has started, and when it is gone."""
        self.has_started = False
        self.is_over = False
        self.death = ""
        self._log = structlog.get_logger(__name__).bind(source=setup.settings.name)
        self._send(setup)
        listener = threading.Thread(
            target=self._receive, name=f"{setup.settings.name}/answers", daemon=True
        )
        try:
            listener.start()
        except RuntimeError:
            self._child.kill()
            self._connection.close()
            raise

    def ask(self, task: str, seconds: float, argument: float = 0.0) -> Future[TaskAnswer]:
        """Send a request; the future fails with `WorkerDiedError` if the process ends first."""
        future: Future[TaskAnswer] = Future()
        with self._lock:
            if self.is_over:
                future.set_exception(WorkerDiedError(self.death))
                return future
            number = next(self._numbers)
            self._pending[number] = future
        self._send(TaskRequest(number, task, time.monotonic() + seconds, argument))
        return future

    def clean_up(self, seconds: float) -> None:
        """Let the process clean up, if it has started, for at most this long."""
        if self.ready.is_set():
            with contextlib.suppress(FutureTimeoutError, WorkerDiedError):
                self.ask(CLOSE, seconds).result(seconds)

    def end(self) -> None:
        """Kill the process and wait until it is gone."""
        self._child.kill()
        self._child.wait(CLOSE_SECONDS)

    def _send(self, message: Setup | TaskRequest) -> None:
        with self._send_lock, contextlib.suppress(OSError):
            # If the process is gone, the receiving thread fails all pending requests.
            self._connection.send(message)

    def _receive(self) -> None:
        try:
            while True:
                answer: TaskAnswer = self._connection.recv()
                if answer.number == READY:
                    self.has_started = True
                    self.ready.set()
                    continue
                if answer.number == NOTE:
                    self._note(answer.value)
                    continue
                answer = replace(answer, value=self._taker.whole(answer.value))
                with self._lock:
                    future = self._pending.pop(answer.number, None)
                if future is not None:
                    future.set_result(answer)
        except (EOFError, OSError):
            pass  # the process has ended
        except Exception:  # noqa: BLE001 - whatever the error is, this loop ends
            self._log.exception("worker.answer_unreadable")
        finally:
            # Without this loop nothing reads the answers of the process any more.
            self._bury()

    def _note(self, attempt: Attempt) -> None:
        if attempt.parts:
            self._attempts[attempt.thread] = attempt.parts
        else:
            self._attempts.pop(attempt.thread, None)

    def _bury(self) -> None:
        self.end()
        self._connection.close()
        death = _cause(self._child)
        if self._child.code in CRASHES:
            self._learn(list(self._attempts.values()))
        with self._lock:
            self.is_over = True
            self.death = death
            self.ready.set()
            waiting = list(self._pending.values())
            self._pending.clear()
        for future in waiting:
            future.set_exception(WorkerDiedError(death))


def _cause(child: Child) -> str:
    if child.fault:
        return NOT_STARTED + child.fault
    if child.code == EXHAUSTED:
        return NOT_STARTED + EXHAUSTION
    how = "" if child.code is None else f" with code {child.code}"
    if child.code is not None and child.code < 0:
        with contextlib.suppress(ValueError):
            how = f" by {signal.Signals(-child.code).name}"
    return f"the process that reads the source ended{how}; it is restarted"
