"""When `scale` runs its command: the state machine, with made-up time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.scale.advice import Missing, ValidAdvice, advice_of
from exporter.scale.decision import (
    DIFFERS_SECONDS,
    RETRY_LEAST,
    RETRY_MOST,
    Run,
    State,
    Stay,
    decide,
    finished,
    retry_seconds,
)
from tests.support.advice_server import advice, row


def advised(desired: int, present: int | None = None, held: str | None = None) -> ValidAdvice:
    return ValidAdvice(desired, present, held, "why")


class Follower:
    """The state machine with a clock, and a command that succeeds or fails."""

    def __init__(self, initial: int | None = None, *, enforce: bool = False) -> None:
        self.state = State(applied=initial)
        self.now = 1000.0
        self.enforce = enforce

    def poll(
        self, told: ValidAdvice | None, *, after: float = 15.0, works: bool = True
    ) -> Run | str:
        """The run, whose command is then finished, or why nothing runs."""
        self.now += after
        decision, self.state = decide(self.state, told, self.now, enforce=self.enforce)
        if isinstance(decision, Stay):
            return decision.why
        self.state = finished(self.state, decision.consumers, succeeded=works, now=self.now)
        return decision


def test_the_first_advice_is_applied_unless_it_holds_already() -> None:
    assert Follower().poll(advised(4, 3)) == Run(4, 3, "first")
    assert Follower().poll(advised(4, None)) == Run(4, None, "first")
    follower = Follower()
    assert follower.poll(advised(4, 4)) == "adopted"
    assert follower.poll(advised(4, 4)) == "agrees"


def test_a_given_number_counts_as_applied() -> None:
    assert Follower(4).poll(advised(4, 3)) == "settles"
    assert Follower(3).poll(advised(4, 4)) == Run(4, 3, "changed")


def test_each_change_runs_the_command_once() -> None:
    follower = Follower(1)
    polls = [follower.poll(advised(desired, 1)) for desired in (1, 2, 2, 2, 5, 5, 0)]
    assert polls == [
        "agrees",
        Run(2, 1, "changed"),
        "settles",
        "settles",
        Run(5, 2, "changed"),
        "settles",
        Run(0, 5, "changed"),
    ]


def test_nothing_runs_without_advice_even_after_a_failure() -> None:
    follower = Follower(1)
    assert follower.poll(None) == "missing"
    assert isinstance(follower.poll(advised(2, 1), works=False), Run)
    assert follower.poll(None, after=3600) == "missing"
    assert follower.poll(advised(2, 1), after=1) == Run(2, 1, "retry")


def test_a_failed_command_is_tried_again_later_and_later() -> None:
    follower = Follower(1)
    follower.poll(advised(3, 1), works=False)
    pauses = []
    for _ in range(8):
        waited = 0.0
        while not isinstance(follower.poll(advised(3, 1), after=1.0, works=False), Run):
            waited += 1.0
        pauses.append(waited + 1.0)
    assert pauses == [15, 30, 60, 120, 240, 300, 300, 300]
    assert follower.poll(advised(3, 1), after=300) == Run(3, 1, "retry")
    assert follower.poll(advised(3, 3)) == "agrees"


def test_pauses_have_a_bound_however_many_failures_there_were() -> None:
    assert retry_seconds(1) == RETRY_LEAST
    assert retry_seconds(100_000) == RETRY_MOST


def test_after_a_failure_even_the_number_before_it_is_set_again() -> None:
    """The failed command may have done its work."""
    follower = Follower(3)
    follower.poll(advised(5, 3), works=False)
    assert follower.poll(advised(3, 3), after=RETRY_LEAST) == Run(3, 3, "retry")


def test_a_retry_follows_the_advice_of_its_time() -> None:
    follower = Follower(1)
    follower.poll(advised(3, 1), works=False)
    assert follower.poll(advised(7, 1), after=1) == "backs_off"
    assert follower.poll(advised(7, 1), after=RETRY_LEAST) == Run(7, 1, "retry")


def test_a_number_changed_by_hand_is_reported_and_set_only_if_wanted() -> None:
    for enforce in (False, True):
        follower = Follower(3, enforce=enforce)
        assert follower.poll(advised(3, 2)) == "settles"
        assert follower.poll(advised(3, 2), after=DIFFERS_SECONDS - 1) == "settles"
        expected = Run(3, 2, "enforced") if enforce else "differs"
        assert follower.poll(advised(3, 2), after=1) == expected
        assert follower.poll(advised(3, 2), after=1) == ("settles" if enforce else "differs")
        assert follower.poll(advised(3, 3), after=1) == "agrees"


def test_a_moment_of_agreement_or_without_advice_begins_the_time_again() -> None:
    for between in (advised(3, 3), advised(3, None), None):
        follower = Follower(3, enforce=True)
        follower.poll(advised(3, 2))
        follower.poll(between, after=DIFFERS_SECONDS)
        assert follower.poll(advised(3, 2), after=1) == "settles"


@pytest.mark.parametrize(
    "held",
    [
        *("saturated", "hot_partition", "single_consumer"),
        *("partitions", "maximum", "prefetched"),
    ],
)
def test_limits_of_the_work_are_followed_both_ways(held: str) -> None:
    assert Follower(5).poll(advised(3, 5, held)) == Run(3, 5, "changed")
    assert Follower(2).poll(advised(3, 2, held)) == Run(3, 2, "changed")


@pytest.mark.parametrize("held", ["learning", "rebalancing", "paused", "retry_loop", "a new word"])
def test_no_consumer_is_removed_while_the_load_is_not_known(held: str) -> None:
    """After a restart of the exporter the advice is the present number, which may be too low."""
    assert Follower(5).poll(advised(3, 3, held)) == "held"
    assert Follower().poll(advised(3, 5, held)) == "held"
    assert Follower().poll(advised(3, None, held)) == "held"
    assert Follower(1).poll(advised(2, 1, held)) == Run(2, 1, "changed")
    assert Follower(2).poll(advised(2, 2, held)) == "agrees"


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.builds(advised, st.integers(0, 5), st.integers(0, 5))),
            st.floats(0.1, 700),
            st.booleans(),
        ),
        max_size=40,
    ),
    st.booleans(),
)
def test_a_command_always_has_a_reason(
    polls: list[tuple[ValidAdvice | None, float, bool]], enforce: bool
) -> None:
    follower = Follower(enforce=enforce)
    last_failed_at: float | None = None
    for told, after, works in polls:
        before = follower.state
        done = follower.poll(told, after=after, works=works)
        if told is None:
            assert done == "missing"
        if not isinstance(done, Run):
            continue
        assert told is not None
        assert done.consumers == told.desired
        if last_failed_at is not None:
            assert follower.now - last_failed_at >= RETRY_LEAST
        elif done.cause != "enforced":
            assert told.desired != before.applied
        last_failed_at = None if works else follower.now


# What counts as advice


def test_a_row_becomes_advice() -> None:
    told = advice(4, 3, held="saturated", reason="4, was 3")
    assert advice_of(row(told)) == ValidAdvice(4, 3, "saturated", "4, was 3", 0, 12, 1.2)


def test_a_topic_with_fewer_partitions_than_the_minimum_is_scaled() -> None:
    found = advice_of(row(advice(3, 1) | {"minimum": 4}))
    assert isinstance(found, ValidAdvice)
    assert found.desired == 3


@pytest.mark.parametrize("score", [10**400, -1, float("nan"), "1", None])
def test_an_odd_score_does_no_harm(score: object) -> None:
    found = advice_of(row(advice(4, 3) | {"score": score}))
    assert isinstance(found, ValidAdvice)
    assert found.score is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"valid": False}, "could not read the subscription lately: 4: 120/s"),
        ({"valid": 1}, "could not read"),
        ({"held": "blind"}, "could not read"),
        ({"desired_consumers": None}, "no number of consumers"),
        ({"desired_consumers": "4"}, "no number of consumers"),
        ({"desired_consumers": True}, "no number of consumers"),
        ({"desired_consumers": 4.5}, "no number of consumers"),
        ({"desired_consumers": -1}, "no number of consumers"),
        ({"desired_consumers": 10**9, "maximum": None}, "no number of consumers"),
        ({"desired_consumers": 13}, "the advice of 13 is above the maximum of 12"),
    ],
)
def test_what_is_not_certainly_valid_is_no_advice(change: dict[str, Any], words: str) -> None:
    found = advice_of(row(advice(4, 3) | change))
    assert isinstance(found, Missing)
    assert words in found.reason


def test_a_row_without_advice_says_why() -> None:
    bare = row(None)
    assert advice_of(bare) == Missing(
        "blind", "no line of `scaling` in the exporter's config matches this subscription"
    )
    del bare["scaling"]
    assert advice_of(bare) == Missing("blind", "the exporter gives no scaling advice; update it")
    assert isinstance(advice_of({"scaling": [4]}), Missing)
    assert isinstance(advice_of(row(advice(4)) | {"stale": True}), Missing)
