"""Counters in slots and their rates."""

from __future__ import annotations

import pytest

from exporter.analysis.rates import CounterTable


def test_a_rate_is_taken_over_the_window_and_not_more() -> None:
    table = CounterTable(30.0)
    slot = table.allocate(0.0)
    for step in range(20):
        table.values[slot] += 100 if step < 10 else 10
        table.sample(10.0 * step)
    assert table.rates[slot] == pytest.approx(1.0)


def test_a_new_counter_is_measured_from_its_birth() -> None:
    table = CounterTable(60.0)
    table.allocate(0.0)
    table.sample(0.0)
    young = table.allocate(50.0)
    table.values[young] = 20
    table.sample(60.0)
    assert table.rates[young] == pytest.approx(2.0)


def test_a_slot_used_again_knows_nothing_of_its_past() -> None:
    table = CounterTable(60.0)
    slot = table.allocate(0.0)
    table.values[slot] = 1000
    table.sample(0.0)
    table.release(slot)
    assert table.allocate(10.0) == slot
    table.values[slot] = 5
    table.sample(20.0)
    assert table.rates[slot] == pytest.approx(0.5)


def test_an_unread_counter_keeps_its_rate_and_spreads_what_it_missed() -> None:
    table = CounterTable(20.0)
    slot = table.allocate(0.0)
    for step in range(5):
        table.values[slot] = 50 * step
        table.sample(10.0 * step)
    assert table.rates[slot] == pytest.approx(5.0)
    for step in range(5, 11):
        table.sample(10.0 * step, {slot})
        assert table.rates[slot] == pytest.approx(5.0)
    table.values[slot] += 140
    table.sample(110.0)
    assert table.rates[slot] == pytest.approx(140 / (110 - 40))


def test_a_gap_in_the_samples_is_averaged_over() -> None:
    table = CounterTable(20.0)
    slot = table.allocate(0.0)
    table.sample(0.0)
    table.values[slot] = 600
    table.sample(60.0)
    assert table.rates[slot] == pytest.approx(10.0)


def test_frequent_samples_are_not_all_kept() -> None:
    table = CounterTable(16.0)
    slot = table.allocate(0.0)
    for step in range(1_000):
        table.values[slot] += 1
        table.sample(0.1 * step)
    assert len(table._samples) <= 18
    assert table.rates[slot] == pytest.approx(10.0)


@pytest.mark.parametrize("window", [50.0, 60.0, 90.0, 120.0])
@pytest.mark.parametrize("first", [0, 1, 4])
def test_a_counter_that_is_read_more_seldom_than_others_has_the_same_rate(
    window: float, first: int
) -> None:
    """Queues without a backlog are read every 30 s, the others every 5 s."""
    table = CounterTable(window)
    seldom, often = table.allocate(0.0), table.allocate(0.0)
    for step in range(100):
        at = 5.0 * step
        table.values[often] = int(10 * at)
        is_read = step % 6 == first
        if is_read:
            table.values[seldom] = int(30 * at)
        table.sample(at, set() if is_read else {seldom})
        if is_read and step > 6:
            assert table.rates[seldom] == pytest.approx(30.0), at
    assert len(table._outages[seldom]) <= 2 * window / 30 + 1
    table.release(seldom)
    assert not table._outages
