"""Each cause is found from its evidence, and none without evidence."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.judgement import texts
from exporter.judgement.evidence import PartitionBacklog
from exporter.judgement.thresholds import DEFAULTS
from tests.unit.play import Play, Said, between, steady

TURN = 900.0
"""The second at which each simulation changes; 22:28 UTC."""


def told(play: Play, seconds: float = 2_400.0) -> Said:
    """Return the last poll with a backlog."""
    return next(each for each in reversed(play.run(seconds)) if each.status != "ok")


def after(**facts: Any) -> Any:
    return lambda at: facts if at >= TURN else {}


def test_a_consumer_made_slow() -> None:
    said = told(Play(steady(20), between(TURN, 9_999, 4, 50)))
    assert said.cause == "slow_consumers"
    assert said.causes[0].evidence.startswith("each consumer processes 4.0/s, usually ")


def test_consumers_that_are_gone() -> None:
    play = Play(steady(20), between(TURN, 9_999, 0, 50), consumers=lambda at: 3 if at < TURN else 0)
    said = told(play)
    assert (said.status, said.cause) == ("stopped", "no_consumers")
    evidence = said.causes[0].evidence
    assert "all 3 consumers" in evidence
    assert "22:28 UTC" in evidence


def test_the_only_consumer_that_is_gone() -> None:
    play = Play(steady(20), between(TURN, 9_999, 0, 50), consumers=lambda at: 1 if at < TURN else 0)
    evidence = told(play).causes[0].evidence
    assert "the only consumer" in evidence
    assert "22:28 UTC" in evidence


def test_some_consumers_left_and_the_others_are_busy() -> None:
    play = Play(
        steady(40), between(TURN, 9_999, 13, 60), consumers=lambda at: 4 if at < TURN else 1
    )
    said = told(play)
    assert said.cause == "too_few_consumers"
    evidence = said.causes[0].evidence
    assert evidence.startswith("3 of 4 consumers disappeared")
    assert "22:28 UTC" in evidence
    assert "remaining one" in evidence
    assert "13/s" in evidence


def test_who_left_long_ago_and_was_not_missed_is_forgotten() -> None:
    """Fewer consumers were enough for half an hour; then the produce rate rises."""
    play = Play(
        between(2_700, 9_999, 200, 20), steady(60), consumers=lambda at: 4 if at < TURN else 2
    )
    assert told(play, 4_200).cause == "traffic_surge"


def test_more_comes_than_before() -> None:
    said = told(Play(between(TURN, 9_999, 200, 20), steady(60)))
    assert said.cause == "traffic_surge"
    evidence = said.causes[0].evidence
    assert "usually 20/s" in evidence
    assert "consume rate is 60/s" in evidence


def test_a_burst_that_drains() -> None:
    said = [
        each
        for each in Play(between(TURN, TURN + 20, 2_000, 20), steady(60)).run(2_400)
        if each.status == "lagging"
    ]
    assert {each.cause for each in said} == {"traffic_surge"}


def test_too_few_from_the_beginning() -> None:
    said = told(Play(steady(100), steady(50), more=lambda _: {"max_consumers": 4}))
    assert said.cause == "too_few_consumers"
    evidence = said.causes[0].evidence
    assert evidence.startswith("1 consumer (at most 4 ")
    assert evidence.endswith("consume rate 50/s, produce rate 100/s")


def test_as_many_as_can_be_and_still_too_slow() -> None:
    said = told(Play(steady(100), steady(50), more=lambda _: {"max_consumers": 1}))
    assert [each.name for each in said.causes] == ["slow_consumers"]
    assert said.causes[0].evidence.startswith("1 consumer (no more can share the work)")


def test_messages_made_a_hundred_times_larger() -> None:
    play = Play(
        steady(20),
        between(TURN, 9_999, 4, 50),
        more=lambda at: {"size": 100_000.0 if at >= TURN else 1_000.0},
    )
    said = told(play)
    assert [each.name for each in said.causes][:2] == ["large_messages", "slow_consumers"]
    assert said.causes[0].evidence.startswith("the mean message size is 98 KB, usually ")


def test_larger_messages_alone_are_no_cause() -> None:
    play = Play(
        between(TURN, 9_999, 200, 20),
        steady(60),
        more=lambda at: {"size": 100_000.0 if at >= TURN else 1_000.0},
    )
    assert "large_messages" not in {each.name for each in told(play).causes}


def test_the_same_messages_again_and_again() -> None:
    play = Play(
        steady(1),
        between(TURN, 9_999, 0, 9),
        more=lambda at: {"redelivered": int(max(at - TURN, 0) * 30)},
    )
    said = told(play)
    assert said.cause == "retry_loop"
    assert said.causes[0].evidence.startswith("100 % of the deliveries are repeats")


def test_a_position_that_goes_back_again_and_again() -> None:
    play = Play(
        steady(20),
        between(TURN, 9_999, 1, 50),
        more=lambda at: {"rewinds": int(max(at - TURN, 0) / 60)},
    )
    assert told(play).cause == "retry_loop"


def test_rebalances_without_end() -> None:
    facts = {"rebalances": 12, "rebalance_times": 5, "rebalanced_for": 600.0, "rebalancing": True}
    said = told(Play(steady(20), between(TURN, 9_999, 4, 50), more=after(**facts)))
    assert said.cause == "rebalancing"
    assert said.causes[0].evidence.startswith(
        "the group rebalanced at least 12 times within 10 minutes, and is rebalancing now"
    )


def test_two_rebalances_are_no_cause() -> None:
    facts = {"rebalances": 2, "rebalance_times": 2, "rebalanced_for": 600.0}
    said = told(Play(steady(20), between(TURN, 9_999, 4, 50), more=after(**facts)))
    assert said.cause == "slow_consumers"


def test_one_rebalance_that_does_not_end() -> None:
    """One member stopped polling, and another one joins: the first is still the only consumer."""
    facts = {"rebalancing": True, "rebalancing_since": TURN, "rejoining": 1, "members": 2}
    play = Play(steady(20), between(TURN, 9_999, 0, 50), more=after(**facts))
    said = told(play, TURN + 120)
    assert (said.status, said.cause) == ("lagging", "rebalancing")
    assert "waiting for 1 of 2 members to rejoin since 22:28 UTC" in said.causes[0].evidence


@pytest.mark.parametrize(
    ("facts", "who"),
    [
        ({"rejoining": 3, "members": 4}, "1 to 3 of 4 members"),
        ({"rejoining": None, "members": 4}, "members"),
        ({"rejoining": None, "members": None}, "members"),
    ],
)
def test_a_long_rebalance_says_only_what_is_known_of_who_is_missing(
    facts: dict[str, Any], who: str
) -> None:
    facts = {"rebalancing": True, "rebalancing_since": TURN, **facts}
    play = Play(steady(20), between(TURN, 9_999, 0, 50), more=after(**facts))
    evidence = told(play, TURN + 120).causes[0].evidence
    assert f"waiting for {who} to rejoin since 22:28 UTC" in evidence


def test_a_long_rebalance_that_began_before_anything_waited() -> None:
    facts = {"rebalancing": True, "rebalancing_since": TURN, "rejoining": 1, "members": 2}
    play = Play(
        lambda at: 0 if TURN - 10 < at < TURN + 60 else 20,
        between(TURN, 9_999, 0, 50),
        more=after(**facts),
    )
    assert told(play, TURN + 240).cause == "rebalancing"


def test_a_rebalance_during_which_messages_are_processed_is_no_cause() -> None:
    """Members of a cooperative assignor keep reading."""
    facts = {"rebalancing": True, "rebalancing_since": TURN, "rejoining": 1, "members": 2}
    play = Play(steady(20), between(TURN, 9_999, 4, 50), more=after(**facts))
    assert told(play, TURN + 240).cause == "slow_consumers"


def test_a_short_rebalance_is_no_cause() -> None:
    facts = {"rebalancing": True, "rebalancing_since": TURN + 110, "members": 2}
    play = Play(steady(20), between(TURN, 9_999, 0, 50), more=after(**facts))
    assert told(play, TURN + 120).cause == "slow_consumers"


@pytest.mark.parametrize(
    ("lags", "evidence"),
    [
        ([1_000, 1, 2, 3], "partition 0 has 99 % of the backlog; the other 3 have the rest"),
        ([5, 1_000], "partition 1 has 99 % of the backlog; the other one has the rest"),
        (
            [900, 800, 5, 5, 5, 5, 5, 5],
            "partition 0, partition 1 have 98 % of the backlog; the other 6 have the rest",
        ),
        ([500, 400, 300, 600], None),
        ([300, 200], None),
        ([1_000], None),
    ],
)
def test_partitions_that_hold_the_backlog(lags: list[int], evidence: str | None) -> None:
    parts = [PartitionBacklog(f"partition {n}", lag) for n, lag in enumerate(lags)]
    play = Play(steady(20), between(TURN, 9_999, 4, 50), more=after(partitions=lambda: parts))
    found = {each.name: each.evidence for each in told(play).causes}
    assert found.get("uneven_partitions") == evidence


def test_a_paused_channel() -> None:
    words = "the channel or its topic is paused on n:4151"
    play = Play(steady(20), between(TURN, 9_999, 0, 50), more=after(paused=(words,)))
    said = told(play)
    assert (said.status, said.cause, said.causes[0].evidence) == ("stalled", "paused", words)


ALARM = "memory alarm on rabbit@a: publishers are blocked"


def test_a_partition_that_stands_still_while_others_move() -> None:
    parts = [
        PartitionBacklog("partition 0", 40, 2.0),
        PartitionBacklog("partition 1", 700, 400.0),
        PartitionBacklog("partition 2", 0),
    ]
    said = told(Play(steady(20), between(TURN, 9_999, 4, 50), more=after(partitions=lambda: parts)))
    name, evidence = said.causes[0]
    assert name == "uneven_partitions"
    assert evidence.startswith("partition 1 has not moved for 7 minutes")
    assert "94 % of the backlog" in evidence


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(
            [
                PartitionBacklog("partition 0", 400, 400.0),
                PartitionBacklog("partition 1", 500, 400.0),
            ],
            id="all stand still",
        ),
        pytest.param(
            [
                PartitionBacklog("partition 0", 600, 2.0),
                PartitionBacklog("partition 1", 400, 400.0),
            ],
            id="most is elsewhere",
        ),
        pytest.param(
            [
                PartitionBacklog("partition 0", 300, 2.0),
                PartitionBacklog("partition 1", 700, 200.0),
            ],
            id="not for long",
        ),
    ],
)
def test_partitions_that_do_not_explain_the_backlog_by_standing_still(
    parts: list[PartitionBacklog],
) -> None:
    said = told(Play(steady(20), between(TURN, 9_999, 4, 50), more=after(partitions=lambda: parts)))
    assert "uneven_partitions" not in {each.name for each in said.causes}


def test_partitions_that_no_consumer_is_assigned() -> None:
    facts = {"unassigned": 5_000, "unassigned_to": ["3", "4"], "uncommitted": 5_000}
    said = told(Play(steady(20), steady(50), more=after(**facts)))
    assert (said.status, said.cause) == ("lagging", "unassigned_partitions")
    assert said.causes[0].evidence.startswith("partitions 3, 4 are not assigned to any consumer")
    assert "5,000 waiting messages" in said.causes[0].evidence


def test_a_position_past_the_end() -> None:
    said = told(Play(steady(0), steady(0), more=after(past_end=70)))
    assert (said.status, said.cause, said.lag) == ("past_end", "past_end", 0)
    assert "70 messages past the log end" in said.causes[0].evidence


CONSUMER_CAUSES = {"no_consumers", "too_few_consumers", "slow_consumers"}


@pytest.mark.parametrize("takes", [0, 4, 15])
@pytest.mark.parametrize("consumers", [None, 0])
def test_no_cause_speaks_of_consumers_that_are_not_known(
    takes: float, consumers: int | None
) -> None:
    """With 0 members, the offsets are moved by a non-member; with None, this is unknown."""
    play = Play(
        between(TURN, 9_999, 100, 20),
        between(TURN, 9_999, takes, 50),
        consumers=lambda _: consumers,
    )
    said = [each for each in play.run(2_400) if each.causes]
    found = {cause.name for each in said for cause in each.causes}
    if consumers == 0 and takes == 0:
        assert found == {"no_consumers"}
    else:
        assert not found & CONSUMER_CAUSES


def test_who_caught_up_at_first_is_not_usually_that_fast() -> None:
    """It processed 200 a second at the beginning; usually it processes 20."""
    play = Play(steady(20), between(TURN, 9_999, 10, 200), starts_with=10_000)
    slow = next(each for each in told(play).causes if each.name == "slow_consumers")
    usual = float(slow.evidence.rpartition("usually ")[2].removesuffix("/s"))
    assert 15 <= usual <= 21


def test_an_alarm_of_the_broker_explains_slow_consumers() -> None:
    """They publish results, and wait until the broker accepts them."""
    said = told(Play(steady(20), between(TURN, 9_999, 4, 50), more=after(alarms=(ALARM,))))
    assert [each.name for each in said.causes][:2] == ["paused", "slow_consumers"]
    assert said.causes[0].evidence == ALARM


def test_an_alarm_of_the_broker_does_not_explain_consumers_that_are_gone() -> None:
    play = Play(
        steady(20),
        between(TURN, 9_999, 0, 50),
        consumers=lambda at: 3 if at < TURN else 0,
        more=after(alarms=(ALARM,)),
    )
    assert told(play).cause == "no_consumers"


def test_an_open_transaction() -> None:
    play = Play(
        steady(20),
        between(TURN, 9_999, 0, 50),
        more=after(withheld=lambda: ("partition 2", 5_300)),
    )
    said = told(play)
    assert said.cause == "open_transaction"
    assert said.causes[0].evidence.startswith("an open transaction in partition 2 ")
    assert "5,300 messages" in said.causes[0].evidence


def test_who_stands_still_for_no_known_reason_is_slow() -> None:
    said = told(Play(steady(20), between(TURN, 9_999, 0, 50)))
    assert said.status == "stalled"
    assert [each.name for each in said.causes] == ["slow_consumers"]
    assert said.causes[0].evidence.startswith("there is 1 consumer, but no message was processed")


def test_nothing_is_said_of_who_is_well() -> None:
    said = Play(steady(20), steady(50)).run(1_800)
    assert {each.causes for each in said} == {()}
    assert DEFAULTS.consumers_expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(119, "119 s"), (7_000, "117 minutes"), (90_000, "25 hours"), (1_728_000, "20 days")],
)
def test_a_span_of_time_has_the_unit_that_people_would_use(seconds: float, text: str) -> None:
    assert texts.minutes(seconds) == text
