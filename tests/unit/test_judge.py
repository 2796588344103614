"""Statuses over time, including the situations of Burrow's evaluator."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from exporter.judgement.evidence import Evidence
from exporter.judgement.judge import Judge, _drain
from exporter.judgement.thresholds import DEFAULTS
from tests.unit.play import Play, Said, between, changes, first, steady

HOUR = 3_600.0


def statuses(said: list[Said], since: float = 60.0) -> set[str]:
    return {each.status for each in said if each.at >= since}


# Healthy


@pytest.mark.parametrize("rate", [0.0, 0.01, 1.0, 40.0, 50_000.0])
@pytest.mark.parametrize("commits_every", [1.0, 5.0, 30.0, 60.0])
def test_who_keeps_up_is_ok_at_any_rate_and_cadence(rate: float, commits_every: float) -> None:
    thresholds = replace(DEFAULTS, lag_messages=int(rate * 20) + 1_000)
    play = Play(steady(rate), steady(rate * 2 + 1), commits_every, thresholds=thresholds)
    assert statuses(play.run(HOUR), 4 * commits_every) == {"ok"}


def test_a_lag_between_two_commits_is_no_lag() -> None:
    """At 100 a second and a commit a minute, up to 6,000 messages wait, after a commit few."""
    said = Play(steady(100), steady(1_000), 60.0).run(HOUR)
    assert max(each.lag for each in said) >= 5_000
    assert statuses(said, 180.0) == {"ok"}


def test_commits_every_ten_minutes_are_known_after_the_second() -> None:
    """Until two long gaps were observed, a gap longer than the stop time is a stop."""
    said = Play(steady(1), steady(10), 600.0).run(3 * HOUR)
    assert first(said, "stalled") is not None
    assert statuses(said, 4_000.0) == {"ok"}


def test_commits_every_ten_minutes_are_no_stop_where_the_stop_time_says_so() -> None:
    thresholds = replace(DEFAULTS, stop_seconds=900.0)
    said = Play(steady(1), steady(10), 600.0, thresholds=thresholds).run(HOUR)
    assert statuses(said, 1_800.0) == {"ok"}
    assert first(said, "stalled") is None


def test_an_idle_topic_is_ok() -> None:
    assert statuses(Play(steady(0), steady(10)).run(HOUR)) == {"ok"}


def test_a_burst_that_drains_within_the_hold_is_no_lag() -> None:
    said = Play(between(600, 601, 12_000, 1), steady(400)).run(1_200)
    assert max(each.lag for each in said) > 5_000
    assert statuses(said) == {"ok"}


# Lagging


def test_a_burst_that_drains_slowly_lags_and_says_when_it_is_over() -> None:
    play = Play(between(600, 610, 2_000, 10), steady(30))
    said = play.run(2_400)
    assert [status for _, status in changes(said)] == ["unknown", "ok", "lagging", "ok"]
    (ended,) = [at for at, status in changes(said)[3:]]
    empty = next(each.at for each in said if each.at > 700 and each.lag < 300)
    asked = [each for each in said if 760 <= each.at <= empty - 100]
    assert len(asked) > 30
    for each in asked:
        assert each.drain is not None
        assert each.at + each.drain == pytest.approx(empty, abs=60)
    assert ended > empty - 100


def test_who_is_too_slow_falls_behind_before_it_lags() -> None:
    said = Play(between(0, 300, 8, 12), steady(9.5)).run(1_500)
    assert [status for _, status in changes(said)] == [
        *("unknown", "ok", "falling_behind", "lagging")
    ]
    behind, lagging = first(said, "falling_behind"), first(said, "lagging")
    assert behind is not None
    assert behind - 300 <= 240
    assert lagging is not None
    lag = next(each.lag for each in said if each.at == lagging)
    assert 1_000 < lag < 1_200


def test_who_is_far_too_slow_lags_within_the_hold() -> None:
    said = Play(between(0, 600, 100, 400), steady(120)).run(900)
    past = next(each.at for each in said if each.lag > 1_000)
    lagging = first(said, "lagging")
    assert lagging is not None
    assert 0 < lagging - past <= 45


# Stopped and stalled


def test_who_stands_still_is_stalled_after_the_stop_time() -> None:
    said = Play(steady(1), between(600, 9_999, 0, 10), commits_every=1).run(1_200)
    stalled = first(said, "stalled")
    assert stalled is not None
    assert 600 + 300 <= stalled <= 600 + 300 + 60
    assert not first(said, "stopped")


def test_who_lives_and_stands_still_is_stalled_earlier() -> None:
    """It commits the same offset again and again."""
    play = Play(steady(1), between(600, 9_999, 0, 10), follows_commits=True)
    said = play.run(1_200)
    stalled = first(said, "stalled")
    assert stalled is not None
    assert 600 + 60 <= stalled <= 600 + 60 + 60
    assert statuses(said, stalled) == {"stalled"}
    assert play.judge.reason is not None
    assert "the consumers are alive" in play.judge.reason


def test_who_commits_without_members_is_stopped_after_the_stop_time() -> None:
    """As if nobody committed: the alert says so, too."""
    play = Play(steady(1), between(600, 9_999, 0, 10), consumers=lambda _: 0, follows_commits=True)
    said = play.run(1_200)
    assert first(said, "stalled") is None
    stopped = first(said, "stopped")
    assert stopped is not None
    assert 600 + 300 <= stopped <= 600 + 300 + 60


def test_who_comes_back_has_not_been_alive_in_between() -> None:
    play = Play(
        steady(1),
        between(600, 9_999, 0, 10),
        consumers=lambda at: int(at < 620 or at >= 3_000),
        alive=lambda at: at < 620 or at >= 3_000,
        follows_commits=True,
    )
    play.run(3_060)
    assert play.judge.reason is not None
    assert "again for 60 s" in play.judge.reason


def test_who_lives_and_then_leaves_is_stopped_after_the_stop_time() -> None:
    play = Play(
        steady(1),
        between(600, 9_999, 0, 10),
        consumers=lambda at: int(at < 630),
        alive=lambda at: at < 630,
        follows_commits=True,
    )
    said = play.run(1_200)
    assert first(said, "stalled") is None
    stopped = first(said, "stopped")
    assert stopped is not None
    assert 600 + 300 <= stopped <= 600 + 300 + 60


@pytest.mark.parametrize("every", [100, 150, 200])
@pytest.mark.parametrize("start", [0, 20, 70])
def test_who_usually_takes_long_is_not_stalled_by_commits_in_between(
    every: int, start: int
) -> None:
    """A batch takes long, and meanwhile it commits every 5 s."""
    play = Play(
        steady(1),
        lambda at: 1_000 if at % every == start else 0,
        follows_commits=True,
        starts_with=50,
    )
    assert first(play.run(2 * HOUR), "stalled") is None


def test_who_is_not_there_is_stopped_after_the_stop_time() -> None:
    play = Play(
        steady(1),
        between(600, 9_999, 0, 10),
        consumers=lambda at: 2 if at < 600 else 0,
        commits_every=1,
    )
    said = play.run(1_200)
    stopped = first(said, "stopped")
    assert stopped is not None
    assert 600 + 300 <= stopped <= 600 + 300 + 60
    assert said[-1].causes[0].name == "no_consumers"
    assert (
        said[-1]
        .causes[0]
        .evidence.startswith("both consumers disappeared, the last one at 22:23 UTC")
    )


def test_a_deploy_of_two_minutes_is_neither_stopped_nor_stalled() -> None:
    play = Play(
        steady(5), between(600, 720, 0, 50), consumers=lambda at: 0 if 600 <= at < 720 else 2
    )
    assert statuses(play.run(1_800)) <= {"ok", "falling_behind"}


@pytest.mark.parametrize("consumers", [0, None])
def test_a_dead_letter_queue_neither_stopped_nor_stalls(consumers: int | None) -> None:
    thresholds = replace(DEFAULTS, consumers_expected=False, lag_seconds=None)
    play = Play(steady(0.01), steady(0), consumers=lambda _: consumers, thresholds=thresholds)
    assert statuses(play.run(HOUR)) == {"ok"}


def test_a_time_that_was_not_seen_is_no_standing_still() -> None:
    """The broker was down for an hour, and the consumers came back with it."""
    facts = {
        "lag": 50,
        "consumers": 0,
        "consumed": 5,
        "produced": 55,
        "redelivered": 0,
        "rewinds": 0,
    }
    judge = Judge()
    for at in (*range(0, 100, 10), *range(3_700, 3_800, 10)):
        evidence = Evidence(
            at=at,
            clock=at,
            age=None,
            commit_interval=0.0,
            stop=300.0,
            consumed_rate=0.0,
            produced_rate=0.0,
            **facts,  # type: ignore[arg-type]
        )
        consumers = 1 if at == 0 else 0
        judge.observe(evidence._replace(consumers=consumers), DEFAULTS, 120.0)
        assert judge.status in ("ok", "unknown")


def test_a_backlog_that_nobody_counts_moves_when_it_changes() -> None:
    facts = {"consumed": None, "produced": None, "consumed_rate": None, "produced_rate": None}
    busy = Play(steady(5), steady(4), more=lambda _: facts)
    assert "stalled" not in statuses(busy.run(900))
    still = Play(steady(0), steady(0), starts_with=5, more=lambda _: facts)
    assert still.run(900)[-1].status == "stalled"


def test_who_moves_without_members_is_ok() -> None:
    """Flink, simple consumers and mirrors commit without being a member of their group."""
    assert statuses(Play(steady(5), steady(50), consumers=lambda _: 0).run(HOUR)) == {"ok"}


def test_who_has_never_committed_is_stalled_only_if_something_came() -> None:
    quiet = Play(steady(0), steady(0), more=lambda _: {"lag": None, "uncommitted": 500})
    assert statuses(quiet.run(HOUR)) == {"ok"}
    busy = Play(steady(0), steady(0), more=lambda at: {"lag": None, "uncommitted": 500 + int(at)})
    assert busy.run(HOUR)[-1].status == "stalled"
    few = Play(
        steady(0), steady(0), more=lambda at: {"lag": None, "uncommitted": 5 if at >= 60 else 0}
    )
    assert few.run(HOUR)[-1].status == "stalled"


# Rewound and abandoned


def test_who_went_back_is_rewound_until_it_has_regained_its_place() -> None:
    back = Play(
        steady(1),
        steady(10),
        more=lambda at: {"is_rewound": 600 <= at < 900, "rewinds": int(at >= 600)},
    )
    said = back.run(1_500)
    rewound = [at for at, status in changes(said) if status == "rewound"]
    assert len(rewound) == 1
    assert 600 <= rewound[0] <= 640
    assert said[-1].status == "ok"


def test_a_topic_that_a_live_group_no_longer_reads_is_abandoned() -> None:
    play = Play(
        steady(5),
        between(600, 9_999, 0, 50),
        consumers=lambda at: 2 if at < 600 else 0,
        more=lambda at: {"reads_elsewhere": at >= 600, "members": 2},
    )
    said = play.run(1_500)
    abandoned = first(said, "abandoned")
    assert abandoned is not None
    assert 600 <= abandoned <= 660
    assert said[-1].status == "abandoned"
    assert said[-1].cause == "no_consumers"
    assert "other destinations" in said[-1].causes[0].evidence


# Unknown


def test_one_poll_is_too_little_history() -> None:
    assert [each.status for each in Play(steady(1), steady(10)).run(10)] == ["unknown", "ok"]


def test_a_lag_that_can_not_be_read_is_unknown_in_time() -> None:
    play = Play(steady(1), steady(10), more=lambda at: {"lag": None} if at >= 600 else {})
    said = play.run(900)
    assert changes(said)[-1][1] == "unknown"
    assert said[-1].drain is None


# Hysteresis


@pytest.mark.parametrize("period", [10.0, 20.0, 40.0])
def test_what_goes_to_and_fro_faster_than_the_hold_does_not_flap(period: float) -> None:
    """The age is above its threshold at every second or third poll."""
    play = Play(
        steady(10),
        steady(100),
        more=lambda at: {"age": 60.0 if (at // (period / 2)) % 2 else 0.0},
    )
    assert len(changes(play.run(HOUR))) <= 3


def test_a_status_changes_after_it_held_for_a_quarter_of_the_window() -> None:
    play = Play(
        steady(10), steady(100), more=lambda at: {"age": 60.0 if 600 <= at < 1_200 else 0.0}
    )
    assert changes(play.run(1_800))[1:] == [(10.0, "ok"), (620.0, "lagging"), (1_220.0, "ok")]


# Forecast


def test_a_backlog_that_does_not_shrink_never_drains() -> None:
    said = Play(steady(10), steady(10), starts_with=500).run(600)
    assert said[-1].drain == math.inf


def test_nothing_waiting_is_drained() -> None:
    assert Play(steady(0), steady(1)).run(100)[-1].drain == 0.0


@pytest.mark.parametrize(("comes", "takes"), [(0.0, 5.0), (10.0, 15.0), (90.0, 100.0)])
@pytest.mark.parametrize("commits_every", [5.0, 60.0])
def test_the_time_to_drain_is_what_it_takes(
    comes: float, takes: float, commits_every: float
) -> None:
    play = Play(steady(comes), steady(takes), commits_every, starts_with=6_000)
    said = play.run(6_000 / (takes - comes))
    true = 6_000 / (takes - comes)
    for each in said:
        if 300 < each.at < true - 240:
            assert each.drain is not None
            assert each.drain == pytest.approx(true - each.at, rel=0.2, abs=90)


# Dormant


def test_who_was_dead_before_the_exporter_saw_it_is_dormant_until_it_moves() -> None:
    """Consumers come back after ten minutes, and leave again after ten more."""
    play = Play(
        steady(1),
        between(600, 1_200, 2, 0),
        consumers=lambda at: 1 if 600 <= at < 1_200 else 0,
        starts_with=5_000,
    )
    said = play.run(3_000)
    order = [status for _, status in changes(said)]
    assert order[:2] == ["unknown", "dormant"]
    assert "dormant" not in order[2:]
    assert order[-1] == "stopped"
    assert statuses([each for each in said if 60 <= each.at < 600]) == {"dormant"}


def test_who_was_empty_at_first_sight_and_then_fills_is_news() -> None:
    play = Play(between(60, 9_999, 1, 0), steady(0), consumers=lambda _: 0)
    said = play.run(1_200)
    assert first(said, "dormant") is None
    assert said[-1].status == "stopped"


def test_a_queue_that_is_created_while_the_exporter_runs_is_news() -> None:
    play = Play(
        steady(1),
        steady(0),
        consumers=lambda _: 0,
        starts_with=5_000,
        more=lambda _: {"is_new": True},
    )
    assert first(play.run(1_200), "dormant") is None


def test_nobody_knows_whether_it_is_dormant_without_the_number_of_consumers() -> None:
    play = Play(steady(1), steady(0), consumers=lambda _: None, starts_with=5_000)
    assert first(play.run(1_200), "dormant") is None


def test_dead_letters_are_never_dormant() -> None:
    """Nobody is meant to read them, so a threshold on their number has to work."""
    thresholds = replace(DEFAULTS, consumers_expected=False, lag_messages=100, lag_seconds=None)
    play = Play(steady(1), steady(0), consumers=lambda _: 0, starts_with=50, thresholds=thresholds)
    said = play.run(1_200)
    assert first(said, "dormant") is None
    assert said[-1].status == "lagging"


def test_a_forecast_of_centuries_means_never() -> None:
    """Rates of which only rounding is left."""
    assert _drain(8_000, 10.0 + 1e-12, 10.0) == math.inf
    assert _drain(8_000, 20.0, 10.0) == 800
    assert _drain(8_000, None, 10.0) is None
