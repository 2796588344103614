"""What is learned from processes that crashed, and which requests the next process makes."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.collectors.process.hazards import LEFT_OUT_SECONDS, Attempt, Hazards, Suspects

NAMES = [f"g{number}" for number in range(200)]


def ask(hazards: Hazards, names: Sequence[str], fatal: set[str], now: float) -> list[str]:
    """Make requests as a process does; return the batch that crashes it, or nothing."""
    for batch in hazards.plan(names, 200, now).batches:
        if fatal.intersection(batch):
            return list(batch)
    return []


def learn_all(suspects: Suspects, names: Sequence[str], fatal: set[str], now: float) -> int:
    """Let processes crash until one survives; return how many crashed."""
    for deaths in range(100):
        batch = ask(Hazards(suspects.known), names, fatal, now)
        if not batch:
            return deaths
        suspects.learn([batch], now)
    raise AssertionError("it never ends")


def test_one_part_of_200_is_found_and_left_out() -> None:
    suspects = Suspects()
    deaths = learn_all(suspects, NAMES, {"g77"}, 0.0)
    assert deaths == 10  # 200, 100, 50, 25, 13, 7, 4, 2, and twice 1
    plan = Hazards(suspects.known).plan(NAMES, 200, 1.0)
    assert plan.left_out == ["g77"]
    assert sorted(name for batch in plan.batches for name in batch) == sorted(
        set(NAMES).difference(["g77"])
    )


def test_several_are_found() -> None:
    suspects = Suspects()
    fatal = {"g0", "g1", "g150", "g199"}
    assert learn_all(suspects, NAMES, fatal, 0.0) <= 40
    assert set(Hazards(suspects.known).plan(NAMES, 200, 1.0).left_out) == fatal


def test_one_death_condemns_nobody() -> None:
    suspects = Suspects()
    assert suspects.learn([["a"]], 0.0) == []
    assert Hazards(suspects.known).plan(["a", "b"], 200, 0.0) == ([["b"], ["a"]], [])
    assert suspects.learn([["a"]], 0.0) == ["a"]
    assert Hazards(suspects.known).plan(["a", "b"], 200, 0.0) == ([["b"]], ["a"])


def test_after_an_hour_it_is_asked_for_alone_and_one_death_is_enough() -> None:
    suspects = Suspects()
    learn_all(suspects, NAMES, {"g77"}, 0.0)
    plan = Hazards(suspects.known).plan(NAMES, 200, LEFT_OUT_SECONDS)
    assert plan.left_out == []
    assert ["g77"] in [list(batch) for batch in plan.batches]
    assert learn_all(suspects, NAMES, {"g77"}, LEFT_OUT_SECONDS) == 1


def test_a_thread_notes_what_it_asks_for_and_that_it_has_it() -> None:
    notes: list[Attempt] = []
    hazards = Hazards(note=notes.append)
    with hazards.asking(["a", "b"]):
        assert len(notes) == 1
    assert [attempt.parts for attempt in notes] == [("a", "b"), ()]
    assert len({attempt.thread for attempt in notes}) == 1
