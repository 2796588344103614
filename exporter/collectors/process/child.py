"""The process of one collector: runs tasks on request until the daemon is gone."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

import structlog

from exporter import logging_setup
from exporter.collectors.process.handover import Giver
from exporter.collectors.process.hazards import Attempt, Hazards
from exporter.collectors.process.messages import (
    CLOSE,
    NOTE,
    READY,
    SURVEY,
    Setup,
    TaskAnswer,
    TaskRequest,
)
from exporter.model import (
    CollectError,
    Collector,
    Observation,
    Problem,
    QueueBacklog,
    Until,
)
from exporter.scrub import guard_tracebacks, is_secret, learn, scrub
from exporter.systems import resolve
from exporter.task_log import LogLimiter, gist, is_exhaustion, said

NAME_BYTES = 15
"""Longest name of a process in Linux."""


def serve(connection: Connection) -> NoReturn:
    """Serve requests until the connection ends; then end the process."""
    try:
        setup: Setup = connection.recv()
        os.environ.update(setup.environment)
        guard_tracebacks()
        _learn(setup)
        _name_process(setup.settings.name)
        logging_setup.configure(setup.log_format, setup.log_level)
        answers = _Answers(connection)
        collector = _collector(setup, answers)
        answers.send(TaskAnswer(READY))
        while True:
            request: TaskRequest = connection.recv()
            threading.Thread(target=_serve, args=(collector, request, answers), daemon=True).start()
    except (EOFError, OSError):
        # The daemon is gone or has closed this source. Nothing needs a clean end here, and a broker
        # that hangs would keep the clients from ending.
        logging_setup.flush()
        os._exit(0)


def _learn(setup: Setup) -> None:
    """Mask the source's secrets from the start.

    Secrets in files are learned whenever they are read.
    """
    learn(*(value for name, value in setup.environment.items() if is_secret(name)))
    setup.settings.learn_secrets()


def _name_process(source: str) -> None:
    """Show the source's name in process lists."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_bytes(f"mq/{source}".encode()[:NAME_BYTES])


def _collector(setup: Setup, answers: _Answers) -> Collector:
    """Return the source's collector. Loads only the libraries of its system."""
    collector: Collector = resolve(setup.collector)(
        setup.settings, Hazards(setup.suspicions, answers.note)
    )
    return collector


class _Answers:
    """Sends answers to the daemon. Safe to use from many threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._told = 0
        """Dropped log lines that were reported to the daemon."""
        self._giver = Giver()
        self._crashes = LogLimiter()

    def send(self, answer: TaskAnswer) -> None:
        """Send the answer; end the process if the daemon is gone."""
        value = answer.value
        with self._lock:
            dropped = logging_setup.dropped()
            changed = self._giver.shrunk(value)
            try:
                self._connection.send(
                    replace(answer, value=changed, lines_dropped=dropped - self._told)
                )
            except OSError:
                os._exit(0)
            self._told = dropped
            self._giver.given(value)

    def note(self, attempt: Attempt) -> None:
        """Tell the daemon what may crash this process now."""
        self.send(TaskAnswer(NOTE, attempt))

    def log_crash(self, task: str, error: Exception) -> None:
        """Log a bug in a task, but not in every run."""
        with self._lock:
            allowed = self._crashes.allows((task, gist(repr(error))), time.monotonic())
        if allowed:
            structlog.get_logger(__name__).error("task.crashed", task=task, exc_info=error)


def _serve(collector: Collector, request: TaskRequest, answers: _Answers) -> None:
    """Run the request and answer it.

    A bug in one task must not end the others or keep the daemon waiting.
    """
    try:
        answers.send(_answer(collector, request))
    except Exception as error:  # noqa: BLE001
        if not is_exhaustion(error):
            answers.log_crash(request.task, error)
        answers.send(TaskAnswer(request.number, failure=("internal", scrub(said(error)))))


def _masked(problems: Sequence[Problem]) -> list[Problem]:
    return [
        replace(problem, subject=scrub(problem.subject), message=scrub(problem.message))
        for problem in problems
    ]


def _without_secrets(observation: Observation) -> Observation:
    """Return the observation with secrets masked in its texts."""
    if observation.problems:
        observation = replace(observation, problems=_masked(observation.problems))
    if isinstance(observation, QueueBacklog) and (observation.alarms or observation.notices):
        observation = replace(
            observation,
            alarms=list(map(scrub, observation.alarms)),
            notices=list(map(scrub, observation.notices)),
        )
    return observation


def _answer(collector: Collector, request: TaskRequest) -> TaskAnswer:
    deadline = Until(request.until - time.monotonic())
    try:
        if request.task == "check":
            findings = [
                replace(finding, feature=scrub(finding.feature), detail=scrub(finding.detail))
                for finding in collector.check(deadline)
            ]
            return TaskAnswer(request.number, findings)
        if request.task == SURVEY:
            survey = collector.survey(deadline, request.seconds)
            return TaskAnswer(request.number, replace(survey, problems=_masked(survey.problems)))
        if request.task == CLOSE:
            collector.close()
            return TaskAnswer(request.number)
        observation = _without_secrets(collector.tasks[request.task](deadline))
    except CollectError as error:
        return TaskAnswer(request.number, failure=(error.reason, scrub(str(error))))
    early = frozenset(task for task in collector.tasks if collector.due_early(task))
    return TaskAnswer(request.number, observation, early=early)
