"""Tests of a file share a process, and so do the files that need the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.scheduling import TIMED, TIMED_SCOPE, scope_of


def test_tests_of_a_file_share_a_process(request: pytest.FixtureRequest) -> None:
    assert scope_of(request.node.nodeid) == "test_scheduling"
    assert scope_of("tests/unit/test_a.py::test_b[c::d/e.py]") == "test_a"


def test_timed_files_are_there_and_share_a_process() -> None:
    folder = Path(__file__).parents[1] / "integration"
    for name in TIMED:
        assert list(folder.rglob(f"{name}.py"))
        assert scope_of(f"tests/integration/{name}.py::test_x") == TIMED_SCOPE
