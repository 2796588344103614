"""Messages that fail repeatedly are found by their repeats; similar situations are not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.play import Play, Said, Story, changes, first, steady

MINUTE = 60.0


def tries(messages: int, every: float, since: float = 0.0) -> Any:
    """Some messages are each requeued every so many seconds, and deferred in between."""

    def facts(at: float) -> dict[str, Any]:
        again = int(max(at - since, 0.0) / every)
        return {"redelivered": messages * again, "deferred": messages if at >= since else 0}

    return facts


def play(more: Any, seconds: float, comes: Story = lambda _: 0.0, **given: Any) -> list[Said]:
    """Everything is processed, except what `more` adds."""
    return Play(comes, steady(1_000), commits_every=1.0, more=more, **given).run(seconds)


def test_all_are_requeued_with_a_delay_and_nothing_waits() -> None:
    said = play(tries(40, 20.0), 600)
    assert {each.lag for each in said} == {0}
    assert changes(said)[1:] == [(10, "ok"), (first(said, "retry_loop"), "retry_loop")]
    assert (first(said, "retry_loop") or 9_999) <= 200
    assert said[-1].cause == "retry_loop"
    evidence = said[-1].causes[0].evidence
    assert evidence.startswith("100 % of the deliveries are repeats")
    assert "(280 requeued or timed out, 0 processed within 2 minutes)" in evidence
    assert "40 messages are deferred" in evidence


@pytest.mark.parametrize(("messages", "every"), [(1, 30), (2, 120), (1, 300), (40, 900)])
def test_it_is_found_at_low_rates_and_does_not_flap(messages: int, every: float) -> None:
    said = play(tries(messages, every), 20 * max(every, MINUTE))
    assert [status for _, status in changes(said)] == ["unknown", "ok", "retry_loop"]
    assert (first(said, "retry_loop") or 99_999) <= max(6 * every, 4 * MINUTE)


def test_beside_messages_that_are_processed_it_is_a_loop_while_most_deliveries_are_repeats() -> (
    None
):
    assert play(tries(40, 20.0), 900, comes=steady(1))[-1].status == "retry_loop"
    assert {each.status for each in play(tries(40, 20.0), 900, comes=steady(5))[1:]} == {"ok"}


def test_deferred_publishing_is_none() -> None:
    said = play(lambda at: {"deferred": int(at)}, 1_200, comes=steady(3))
    assert {each.status for each in said[1:]} == {"ok"}


def test_a_consumer_that_restarts_repeats_its_messages_once() -> None:
    said = play(lambda at: {"redelivered": 100 if at >= 300 else 0, "deferred": 5}, 1_200)
    assert {each.status for each in said[1:]} == {"ok"}


def test_it_is_over_once_the_messages_are_processed() -> None:
    """At 600 s the consumer is repaired and its 40 messages are processed; others are deferred."""
    looping = tries(40, 20.0)

    def facts(at: float) -> dict[str, Any]:
        return {**looping(min(at, 600.0)), "deferred": 40 if at < 620 else 3}

    said = play(facts, 1_200, comes=lambda at: 2.0 if at >= 620 else 0.0)
    turns = [(at, status) for at, status in changes(said) if at > 600]
    assert [status for _, status in turns] == ["ok"]
    assert turns[0][0] <= 900
    empty = play(lambda at: {**facts(at), "deferred": 40 if at < 620 else 0}, 1_200)
    assert [status for at, status in changes(empty) if at > 600] == ["ok"]
    assert next(at for at, _ in changes(empty) if at > 600) <= 670


def test_nothing_is_said_where_it_is_not_known_what_was_processed() -> None:
    looping = tries(40, 20.0)
    said = play(lambda at: {**looping(at), "consumed": None, "consumed_rate": None}, 600)
    assert {each.status for each in said[1:]} == {"ok"}


def test_a_backlog_past_its_threshold_is_lagging_because_of_it() -> None:
    said = play(lambda at: {**tries(40, 20.0)(at), "lag": 5_000, "age": 60.0}, 250)
    assert (said[-1].status, said[-1].cause) == ("lagging", "retry_loop")
