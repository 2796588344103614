"""Ages of a backlog: what is kept, and that the error is never larger than the bound."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.analysis.logs.ages import Ages
from exporter.model import Method, Stamps

AT = 1_700_000_000.0
HOLD = 120.0
FLOAT = 1e-6
"""Seconds; a Unix time in a float is accurate to some tenths of a microsecond."""


def stamps(
    times: Sequence[float],
    errors: Sequence[float] | None = None,
    partitions: Sequence[int] | None = None,
    method: Method = "time_index",
) -> Stamps:
    """Make a row for each time. Errors default to 0, partitions to 0, 1, …"""
    return Stamps(
        list(range(len(times))) if partitions is None else partitions,
        times,
        [0.0] * len(times) if errors is None else errors,
        method,
    )


def take(
    ages: Ages,
    lags: Sequence[int | None],
    found: Stamps | None,
    *,
    now: float = 0.0,
    partitions: Sequence[int] | None = None,
) -> Ages:
    """Poll partitions 0, 1, … at the monotonic time `now`."""
    places = list(range(len(lags))) if partitions is None else partitions
    labels = [f"p{place}" for place in places]
    ages.set_times(places, labels, lags, found, at=AT + now, now=now, hold=HOLD)
    return ages


def test_an_age_is_now_less_the_time_of_the_oldest_unread_message() -> None:
    ages = take(Ages(), [5, 7], stamps([AT - 3.25, AT - 60.0]))
    assert ages.values == [3.25, 60.0]
    assert ages.labels == ["p0", "p1"]
    assert ages.by_partition() == {0: 3.25, 1: 60.0}
    assert (ages.largest(), ages.method) == (60.0, "time_index")


def test_no_lag_is_age_zero_whatever_a_stamp_says() -> None:
    ages = take(Ages(), [0, 4], stamps([AT - 100.0, AT - 2.0], [50.0, 0.5]))
    assert ages.values == [0.0, 2.0]
    assert ages.uncertainty == pytest.approx(0.501)


@pytest.mark.parametrize("time", [AT + 30.0, float("inf")])
def test_a_message_of_the_future_and_none_at_all_have_no_age(time: float) -> None:
    assert take(Ages(), [4], stamps([time])).values == [0.0]


def test_caught_up_everywhere_needs_no_stamps_and_is_certain() -> None:
    ages = take(Ages(), [0, 0], None)
    assert (ages.values, ages.largest(), ages.uncertainty) == ([0.0, 0.0], 0.0, 0.0)
    assert ages.method is None


def test_a_subscription_without_positions_has_no_age() -> None:
    ages = take(Ages(), [], None)
    assert (ages.values, ages.largest(), ages.uncertainty) == ([], None, None)


@pytest.mark.parametrize("others", [0, 3])
def test_a_lag_that_is_not_known_has_no_age_and_leaves_the_largest_open(others: int) -> None:
    ages = take(Ages(), [others, None], stamps([AT - 9.0, AT - 9.0]))
    assert ages.values[1] is None
    assert (ages.largest(), ages.uncertainty) == (None, None)


def test_a_lag_that_is_not_known_any_more_has_no_age_at_once() -> None:
    ages = take(Ages(), [3, 3], stamps([AT - 9.0, AT - 9.0]))
    assert take(ages, [3, None], stamps([AT - 8.0], partitions=[0]), now=1.0).values == [9.0, None]


def test_the_method_is_the_last_one_that_was_said() -> None:
    ages = take(Ages(), [3], stamps([AT - 9.0], method="record"))
    said = [ages.method]
    for lag, found in ((0, None), (3, stamps([AT - 9.0], method="time_index"))):
        said.append(take(ages, [lag], found, now=10.0).method)
    assert said == ["record", "record", "time_index"]


# Kept values


def test_what_a_look_does_not_know_is_held_and_then_hidden() -> None:
    ages = take(Ages(), [5, 5], stamps([AT - 30.0, AT - 40.0]))
    only = stamps([AT - 30.0], partitions=[0])
    assert take(ages, [5, 5], only, now=10.0).values == [40.0, 40.0]
    assert take(ages, [5, 5], only, now=10.0 + HOLD).values == [30.0 + 10.0 + HOLD, 40.0]
    assert ages.largest() == 30.0 + 10.0 + HOLD
    assert take(ages, [5, 5], only, now=10.1 + HOLD).values == [30.0 + 10.1 + HOLD, None]
    assert ages.largest() is None


def test_without_any_stamps_everything_that_lags_is_held_and_then_hidden() -> None:
    ages = take(Ages(), [5, 0], stamps([AT - 30.0, AT]))
    assert take(ages, [5, 0], None, now=10.0).values == [30.0, 0.0]
    assert take(ages, [5, 0], None, now=11.0 + HOLD).values == [None, 0.0]


def test_the_time_of_the_hold_begins_anew_after_an_answer() -> None:
    ages = take(Ages(), [5], stamps([AT]))
    take(ages, [5], None, now=10.0)
    take(ages, [5], stamps([AT]), now=HOLD)
    take(ages, [5], None, now=HOLD + 10.0)
    assert take(ages, [5], None, now=10.0 + 2 * HOLD).values == [HOLD]


def test_the_time_of_the_hold_begins_anew_after_no_lag() -> None:
    for caught_up in ([0, 1], [0, 0]):
        ages = take(Ages(), [5, 1], stamps([AT - 5.0, AT - 5.0]))
        other = stamps([AT - 5.0], partitions=[1])
        take(ages, [5, 1], other, now=10.0)
        take(ages, caught_up, other, now=20.0)
        assert take(ages, [5, 1], other, now=15.0 + HOLD).values[0] == 0.0


def test_what_is_held_says_nothing_of_how_far_it_is_off() -> None:
    ages = take(Ages(), [5, 5], stamps([AT - 30.0, AT - 40.0]))
    assert ages.uncertainty is not None
    assert take(ages, [5, 5], stamps([AT], partitions=[0]), now=1.0).uncertainty is None


def test_what_was_never_known_is_not_made_up() -> None:
    ages = take(Ages(), [5, 5], stamps([AT - 1.0], partitions=[0]))
    assert ages.values == [1.0, None]


def test_partitions_come_and_go() -> None:
    ages = take(Ages(), [5, 5], stamps([AT - 10.0, AT - 20.0]))
    take(ages, [5], stamps([AT - 10.0], partitions=[0]), partitions=[0])
    assert ages.by_partition() == {0: 10.0}
    take(ages, [5, 5], stamps([AT - 10.0], partitions=[0]), partitions=[0, 1])
    assert ages.by_partition() == {0: 10.0, 1: None}, "what was there before is another partition"


def test_stamps_may_come_in_another_order() -> None:
    found = stamps([AT - 20.0, AT - 10.0], [2.0, 1.0], partitions=[1, 0])
    ages = take(Ages(), [5, 5], found)
    assert ages.by_partition() == {0: 10.0, 1: 20.0}
    assert ages.uncertainty == pytest.approx(2.001)


# Error bounds


@pytest.mark.parametrize(
    ("case", "ages", "errors", "uncertainty"),
    [
        ("exact, but for the millisecond", [10.0], [0.0], 0.001),
        ("the largest's own", [10.0, 1.0], [0.5, 3.0], 0.501),
        ("another may be larger", [10.0, 9.0], [0.5, 3.0], 2.001),
        ("another holds it up", [10.0, 9.5], [3.0, 0.0], 3.001),
        ("one can't be told", [10.0, 1.0], [0.5, -1.0], None),
    ],
)
def test_the_uncertainty_is_that_of_the_largest(
    case: str, ages: list[float], errors: list[float], uncertainty: float | None
) -> None:
    found = take(Ages(), [1] * len(ages), stamps([AT - age for age in ages], errors))
    assert (case, found.uncertainty) == (case, uncertainty)


PLACE = st.tuples(
    st.integers(0, 3),  # lag
    st.floats(-100.0, 100_000.0),  # how long before the poll the message was enqueued, in truth
    st.floats(0.0, 5_000.0),  # upper bound on the error of the timestamp
    st.floats(-1.0, 1.0),  # its error, as a fraction of the bound
)


@given(st.lists(PLACE, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_true_largest_age_is_always_within_the_uncertainty(
    places: list[tuple[int, float, float, float]], shuffle: random.Random
) -> None:
    lags = [lag for lag, *_ in places]
    truth = max([max(age, 0.0) for lag, age, *_ in places if lag], default=0.0)
    times = [AT - age + error * part for _, age, error, part in places]
    errors = [error for *_, error, _ in places]
    order = list(range(len(places)))
    shuffle.shuffle(order)
    for rows in (list(range(len(places))), order):
        found = stamps([times[row] for row in rows], [errors[row] for row in rows], rows)
        ages = take(Ages(), lags, found)
        largest = ages.largest()
        assert largest is not None
        assert ages.uncertainty is not None
        assert abs(largest - truth) <= ages.uncertainty + FLOAT
