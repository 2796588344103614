"""What is logged about a task's problems.

Each is logged once, with its subject, and once when it ends. The number of lines is limited.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from exporter.model import Problem, Reason
from exporter.task_log import MOST_LINES, REPEAT_SECONDS, RUN_LINES, LogLimiter, TaskLog, gist

CYCLE = 10.0
NO_LEADER = "the partition has no leader"

Line = tuple[str, Mapping[str, Any]]


class Log:
    """Collects what would be logged."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def __getattr__(self, level: str) -> Any:
        return lambda event, **fields: self.lines.append((event, fields))


class World:
    """A task's log and its clock: each poll takes one interval."""

    def __init__(self) -> None:
        self.log = Log()
        self.task = TaskLog(self.log)
        self.now = 0.0

    def fail(self, reason: Reason, message: str) -> list[Line]:
        """Return the lines of a poll that fails."""
        return self._run(lambda: self.task.failed(reason, message, self.now))

    def answer(self, *problems: Problem) -> list[Line]:
        """Return the lines of a poll whose answer is incomplete because of these problems."""
        return self._run(lambda: self.task.answered(problems, self.now))

    def _run(self, report: Any) -> list[Line]:
        self.now += CYCLE
        self.log.lines = []
        report()
        return self.log.lines


@pytest.fixture
def world() -> World:
    return World()


def leaderless(*partitions: int, message: str = NO_LEADER) -> list[Problem]:
    return [Problem("unreachable", f"topic orders, partition {p}", message) for p in partitions]


def events(lines: Sequence[Line]) -> list[str]:
    return [event for event, _ in lines]


def partial(count: int, *subjects: int, error: str = NO_LEADER) -> Line:
    named = [f"topic orders, partition {subject}" for subject in subjects]
    return (
        "task.partial",
        {"reason": "unreachable", "error": error, "count": count, "subjects": named},
    )


# Problems that begin


def test_a_failure_is_logged_once(world: World) -> None:
    assert world.fail("timeout", "timed out") == [
        ("task.failed", {"reason": "timeout", "error": "timed out"})
    ]
    assert world.fail("timeout", "timed out") == []


def test_a_second_failure_with_the_same_reason_is_another_problem(world: World) -> None:
    """The case of the issue: the later message names the cause."""
    problem = Problem("timeout", "topic orders, partition 3", "timed out")
    later = Problem("timeout", "topic orders, partition 3", NO_LEADER)
    world.answer(problem)
    lines = world.answer(later)
    assert events(lines) == ["task.problem_ended", "task.partial"]
    assert lines[1][1] == {
        "reason": "timeout",
        "error": NO_LEADER,
        "count": 1,
        "subjects": ["topic orders, partition 3"],
    }


def test_a_problem_beside_one_that_stands_is_logged_with_its_subject(world: World) -> None:
    world.answer(*leaderless(1))
    assert world.answer(*leaderless(1, 2)) == [partial(1, 2)]
    assert world.answer(*leaderless(1, 2)) == []


def test_a_number_that_changes_makes_no_other_problem(world: World) -> None:
    world.fail("timeout", "no answer within 9.98 s")
    assert world.fail("timeout", "no answer within 10.02 s") == []


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ("no answer within 9.98 s", "no answer within # s"),
        ("failed (after 0ms in state CONNECT)", "failed (after # in state CONNECT)"),
        ("12 of 30 groups, 40%", "# of # groups, #"),
        ("kafka-1:9092 is down", "kafka-1:9092 is down"),
        ("127.0.0.1:9092 is down", "127.0.0.1:9092 is down"),
        ("user app2 may not", "user app2 may not"),
    ],
)
def test_what_of_a_message_may_change(message: str, what: str) -> None:
    assert gist(message) == what


def test_a_crash_comes_with_its_exception_once(world: World) -> None:
    error = ZeroDivisionError("by 0")
    world.task.failed("internal", "ZeroDivisionError: by 0", 0.0, error)
    assert world.log.lines[0] == ("task.crashed", {"exc_info": error})
    assert events(world.log.lines) == ["task.crashed", "task.failed"]
    world.task.failed("internal", "ZeroDivisionError: by 0", 10.0, error)
    assert len(world.log.lines) == 2


# Problems that end


def test_an_end_says_how_long_it_lasted(world: World) -> None:
    world.answer(*leaderless(1, 2))
    world.answer(*leaderless(1, 2))
    (ended,) = world.answer(*leaderless(2))
    assert ended == (
        "task.problem_ended",
        {
            "reason": "unreachable",
            "error": NO_LEADER,
            "count": 1,
            "subjects": ["topic orders, partition 1"],
            "seconds": 20,
        },
    )
    assert events(world.answer()) == ["task.problem_ended", "task.recovered"]
    assert world.answer() == []


def test_recovery_says_how_long_the_task_had_problems(world: World) -> None:
    world.fail("timeout", "timed out")
    world.fail("unreachable", "no broker")
    world.answer(*leaderless(1))
    assert world.answer()[-1] == ("task.recovered", {"seconds": 30})


def test_a_run_that_brings_nothing_ends_no_problem_of_a_part(world: World) -> None:
    world.answer(*leaderless(1))
    assert events(world.fail("timeout", "timed out")) == ["task.failed"]
    lines = world.answer(*leaderless(1))
    assert events(lines) == ["task.problem_ended"]
    assert lines[0][1]["error"] == "timed out"


def test_without_problems_nothing_is_logged(world: World) -> None:
    assert world.answer() == []


# Limits


def test_a_thousand_partitions_are_a_line_with_a_count(world: World) -> None:
    assert world.answer(*leaderless(*range(1_000))) == [partial(1_000, 0, 1, 2, 3, 4)]
    assert world.answer(*leaderless(*range(1_000))) == []
    lines = world.answer()
    assert events(lines) == ["task.problem_ended", "task.recovered"]
    assert lines[0][1]["count"] == 1_000


def test_many_kinds_of_problems_are_a_handful_of_lines(world: World) -> None:
    words = [f"x{number}" for number in range(50)]
    problems = [Problem("invalid", f"queue {word}", f"{word} is wrong") for word in words]
    lines = world.answer(*problems)
    assert len(lines) == RUN_LINES + 1
    assert lines[-1] == ("task.partial", {"count": 45, "other_kinds": 45})
    assert world.answer(*problems) == []
    assert len(world.answer()) == RUN_LINES + 2


def test_messages_that_always_differ_do_not_flood(world: World) -> None:
    lines = 0
    for number in range(int(REPEAT_SECONDS / CYCLE)):
        problems = [Problem("invalid", "queue q", f"id x{number}-{n}") for n in range(10)]
        lines += events(world.answer(*problems)).count("task.partial")
    assert MOST_LINES <= lines <= MOST_LINES + MOST_LINES / RUN_LINES


def test_what_had_no_room_is_logged_later(world: World) -> None:
    for number in range(MOST_LINES):
        world.fail("invalid", f"x{number}")
    assert world.fail("unreachable", "no broker") == []
    world.now += REPEAT_SECONDS
    assert ("task.failed", {"reason": "unreachable", "error": "no broker"}) in world.fail(
        "unreachable", "no broker"
    )


@pytest.mark.parametrize("whole", [False, True])
def test_a_problem_that_comes_and_goes_is_logged_once_in_a_while(
    world: World, *, whole: bool
) -> None:
    runs = int(2 * REPEAT_SECONDS / CYCLE)
    lines: list[Line] = []
    for _ in range(runs // 2):
        lines += world.fail("timeout", "timed out") if whole else world.answer(*leaderless(1))
        lines += world.answer()
    begun = [fields for event, fields in lines if event in ("task.partial", "task.failed")]
    assert len(begun) == 2
    assert begun[1]["times"] == REPEAT_SECONDS / CYCLE / 2
    assert events(lines).count("task.problem_ended") == 2
    assert events(lines).count("task.recovered") == 2


def test_a_problem_that_came_back_too_soon_is_logged_when_it_stays(world: World) -> None:
    world.answer(*leaderless(1))
    world.answer()
    assert world.answer(*leaderless(1)) == []
    world.now = REPEAT_SECONDS
    assert events(world.answer(*leaderless(1))) == ["task.partial"]


def test_what_ended_long_ago_takes_no_memory(world: World) -> None:
    world.answer(*leaderless(*range(1_000)))
    world.answer()
    world.now += REPEAT_SECONDS
    world.answer()
    assert not world.task._known


# LogLimiter


def test_a_recurring_thing_is_allowed_once_in_a_while() -> None:
    limiter = LogLimiter(10.0)
    assert [limiter.allows("a", now) for now in (0.0, 9.0, 10.0, 11.0)] == [
        True,
        False,
        True,
        False,
    ]
    assert limiter.allows("b", 11.0)


def test_what_always_differs_is_allowed_a_number_of_times() -> None:
    limiter = LogLimiter(10.0)
    allowed = sum(limiter.allows(number, 0.0) for number in range(5_000))
    assert allowed == 1_000
    assert limiter.allows("a", 10.0)
