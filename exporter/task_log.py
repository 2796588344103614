"""Logs the problems of a task: each one once when it begins, and once when it has ended.

Time is an argument, in seconds of the monotonic clock.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.model import Problem, Reason

REPEAT_SECONDS = 600.0
"""A problem that comes and goes is logged at most once in this time."""
RUN_LINES = 5
"""Largest number of lines per run for problems that begin, and the same for problems that end.
Further ones are counted in one line.
"""
MOST_LINES = 30
"""Largest number of lines of a task for problems that begin, per REPEAT_SECONDS."""
SUBJECTS = 5
"""Largest number of subjects in a line, which also has their total number."""
REMEMBERED = 1_000

NUMBER = re.compile(r"(?<![\w.:-])\d+(?:\.\d+)?(?:ms|µs|s|%|B|kB|MB)?(?![\w:-]|\.\d)")
"""A standalone number, as in `after 9.98 s`, but not a part of a name or address."""

_Key = tuple[str, Reason, str]


def gist(message: str) -> str:
    """Return the message without its numbers, which change from run to run."""
    return NUMBER.sub("#", message)


EXHAUSTION = "out of memory or threads; raise the memory and process limits"


def is_exhaustion(error: BaseException) -> bool:
    """Return whether the machine has no memory or threads left, which is not a bug."""
    return isinstance(error, MemoryError) or "can't start new thread" in str(error)


def said(error: Exception) -> str:
    """Return the message for an unexpected error."""
    return EXHAUSTION if is_exhaustion(error) else f"{type(error).__name__}: {error}"


class LogLimiter:
    """Limits how often a recurring event is logged."""

    def __init__(self, seconds: float = REPEAT_SECONDS) -> None:
        self._seconds = seconds
        self._last: dict[Hashable, float] = {}

    def allows(self, what: Hashable, now: float) -> bool:
        """Return whether `what` may be logged now: it was not logged within `seconds` before."""
        last = self._last.get(what)
        if last is not None and now - last < self._seconds:
            return False
        if len(self._last) >= REMEMBERED:
            self._last = {k: at for k, at in self._last.items() if now - at < self._seconds}
            if len(self._last) >= REMEMBERED:
                return False
        self._last[what] = now
        return True


@dataclass(slots=True)
class _LoggedProblem:
    """A problem that is present, or that ended recently."""

    problem: Problem
    since: float
    """When it began last."""
    is_present: bool = True
    logged: bool = False
    """Whether its present occurrence was logged."""
    logged_at: float | None = None
    """When an occurrence of it was last logged."""
    times: int = 1
    """How often it began since it was last logged."""


class TaskLog:
    """Logs when the problems of one task begin and end. Call it after each run."""

    def __init__(self, log: Any) -> None:
        """`log` is a structlog logger with the source and the task."""
        self._log = log
        self._known: dict[_Key, _LoggedProblem] = {}
        self._lines: deque[float] = deque()
        self._faulty_since: float | None = None
        self._has_logged = False
        """Whether a problem was logged since the last run without problems."""

    def failed(
        self, reason: Reason, message: str, now: float, crash: BaseException | None = None
    ) -> None:
        """The run failed; `crash` is the exception if that is a bug.

        Other problems stay as they are.
        """
        self._note_present([Problem(reason, "", message)], now)
        self._log_begins(now, crash)

    def answered(self, problems: Sequence[Problem], now: float) -> None:
        """The run succeeded, with incomplete data if there are `problems`."""
        present = self._note_present(problems, now)
        gone = [
            known for key, known in self._known.items() if known.is_present and key not in present
        ]
        for known in gone:
            known.is_present = False
        self._log_ends([known for known in gone if known.logged], now)
        self._log_begins(now)
        if not problems:
            self._recover(now)
        self._forget(now)

    def _note_present(self, problems: Iterable[Problem], now: float) -> set[_Key]:
        """Note that these problems are present; return their keys."""
        gists: dict[str, str] = {}
        present: set[_Key] = set()
        for problem in problems:
            message = problem.message
            if message not in gists:
                gists[message] = gist(message)
            key = (problem.subject, problem.reason, gists[message])
            present.add(key)
            known = self._known.get(key)
            if known is None:
                self._known[key] = _LoggedProblem(problem, now)
            elif not known.is_present:
                known.since, known.is_present, known.logged = now, True, False
                known.times += 1
        if present and self._faulty_since is None:
            self._faulty_since = now
        return present

    def _log_begins(self, now: float, crash: BaseException | None = None) -> None:
        while self._lines and now - self._lines[0] >= REPEAT_SECONDS:
            self._lines.popleft()
        due = [
            known
            for known in self._known.values()
            if known.is_present and not known.logged and _is_due(known, now)
        ]
        kinds = _by_kind(due)
        room = min(RUN_LINES, MOST_LINES - len(self._lines))
        for group in kinds[:room]:
            self._log_begin(group, crash)
        rest = [known for group in kinds[room:] for known in group]
        if rest and room > 0:
            self._log.warning("task.partial", count=len(rest), other_kinds=len(kinds) - room)
        if room > 0:
            for known in due:
                known.logged, known.logged_at, known.times = True, now, 0
            self._lines.extend([now] * min(len(kinds), room))
            self._has_logged = self._has_logged or bool(due)

    def _log_begin(self, group: Sequence[_LoggedProblem], crash: BaseException | None) -> None:
        first = group[0].problem
        fields = _fields(group)
        times = max(known.times for known in group)
        if times > 1:
            fields["times"] = times
        if not first.subject:
            if crash is not None:
                self._log.error("task.crashed", exc_info=crash)
            self._log.warning("task.failed", **fields)
        else:
            self._log.warning("task.partial", **fields)

    def _log_ends(self, ended: Sequence[_LoggedProblem], now: float) -> None:
        kinds = _by_kind(ended)
        for group in kinds[:RUN_LINES]:
            seconds = round(now - min(known.since for known in group))
            self._log.info("task.problem_ended", **_fields(group), seconds=seconds)
        rest = [known for group in kinds[RUN_LINES:] for known in group]
        if rest:
            self._log.info(
                "task.problem_ended", count=len(rest), other_kinds=len(kinds) - RUN_LINES
            )

    def _recover(self, now: float) -> None:
        if self._has_logged and self._faulty_since is not None:
            self._log.info("task.recovered", seconds=round(now - self._faulty_since))
        self._faulty_since, self._has_logged = None, False

    def _forget(self, now: float) -> None:
        """Forget the problems that ended long enough ago to be logged at once if they come back."""
        for key in [k for k, known in self._known.items() if not known.is_present]:
            if _is_due(self._known[key], now):
                del self._known[key]


def _is_due(known: _LoggedProblem, now: float) -> bool:
    return known.logged_at is None or now - known.logged_at >= REPEAT_SECONDS


def _by_kind(known: Iterable[_LoggedProblem]) -> list[list[_LoggedProblem]]:
    """Group problems by reason and gist. Each group gets one line."""
    kinds: dict[tuple[bool, Reason, str], list[_LoggedProblem]] = {}
    for each in known:
        problem = each.problem
        kind = (not problem.subject, problem.reason, gist(problem.message))
        kinds.setdefault(kind, []).append(each)
    return list(kinds.values())


def _fields(group: Sequence[_LoggedProblem]) -> dict[str, Any]:
    """Return the log fields of problems of one kind. The failure of a whole run has no subject."""
    first = group[0].problem
    fields: dict[str, Any] = {"reason": first.reason, "error": first.message}
    if first.subject:
        fields["count"] = len(group)
        fields["subjects"] = [known.problem.subject for known in group[:SUBJECTS]]
    return fields
