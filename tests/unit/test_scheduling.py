"""Tests of a file share a process, and so do the files that need the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.scheduling import LONG, TIMED, TIMED_SCOPE, WAITING, order_of, scope_of


def test_tests_of_a_file_share_a_process(request: pytest.FixtureRequest) -> None:
    assert scope_of(request.node.nodeid) == "test_scheduling"
    assert scope_of("tests/unit/test_a.py::test_b[c::d/e.py]") == "test_a"


def test_files_with_a_rule_are_there_once() -> None:
    names = [*TIMED, *LONG, *WAITING]
    assert len(set(names)) == len(names)
    folder = Path(__file__).parents[1] / "integration"
    for name in names:
        assert list(folder.rglob(f"{name}.py")), name


def test_timed_files_share_a_process() -> None:
    assert {scope_of(f"tests/integration/{name}.py::test_x") for name in TIMED} == {TIMED_SCOPE}


def test_timed_files_come_first_and_those_that_wait_last() -> None:
    names = [TIMED[-1], LONG[0], "test_unlisted", WAITING[0]]
    orders = [order_of(f"tests/integration/{name}.py::test_x") for name in names]
    assert orders == sorted(orders)
    assert len(set(orders)) == len(orders)
