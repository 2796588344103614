"""Work in the background of a test ends with its block, and its failures fail the test."""

from __future__ import annotations

import pytest

from testbed.background import Background


class Counting(Background):
    """Counts its starts, and runs until it is stopped or fails."""

    def __init__(self, failure: BaseException | None = None) -> None:
        super().__init__()
        self.starts = 0
        self.ended = False
        self._fault = failure

    def _run(self) -> None:
        self.starts += 1
        if self._fault is not None:
            raise self._fault
        self._stopping.wait(30)
        self.ended = True


def test_it_runs_as_long_as_the_block() -> None:
    with Counting() as running:
        assert not running.ended
    assert running.ended


def test_it_can_be_stopped_and_started_within_the_block() -> None:
    with Counting() as running:
        running.stop()
        assert running.ended
        running.start()
    assert running.starts == 2


@pytest.mark.parametrize("failure", [ValueError("wrong"), pytest.fail.Exception("wrong")])
def test_what_it_fails_by_is_raised_where_the_block_ends(failure: BaseException) -> None:
    with pytest.raises(type(failure), match="wrong"), Counting(failure):
        pass


def test_an_error_of_the_block_comes_first() -> None:
    with pytest.raises(KeyError), Counting(ValueError("wrong")):
        raise KeyError


def test_what_does_not_stop_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Background, "STOP_SECONDS", 0.0)
    running = Counting()
    monkeypatch.setattr(running._stopping, "set", lambda: None)
    running.start()
    with pytest.raises(AssertionError, match="does not stop"):
        running.stop()
    monkeypatch.undo()
    running.stop()
    assert running.ended
