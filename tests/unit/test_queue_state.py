"""The state of a queue source after polls."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from exporter.analysis.families import View
from exporter.analysis.queues.rows import queue_rows
from exporter.analysis.queues.series import show_queues
from exporter.analysis.queues.source_state import QueueSourceState
from exporter.analysis.rows import Wanted
from exporter.analysis.state import StateSettings
from exporter.model import (
    Counts,
    Depth,
    Place,
    Produced,
    QueueBacklog,
    QueueCounts,
    StreamOffsets,
)
from exporter.show.exposition import labeler

VIEW = View(hold=120.0, max_series=500_000, per_partition=True)
QUEUE = Place("/", "q", None, None)


class Named:
    system = "rabbitmq"
    name = "r"


class World:
    """A state, its clock, and its series."""

    def __init__(self, view: View = VIEW) -> None:
        self.state = QueueSourceState(labeler({}), StateSettings(120.0))
        self.view = view
        self.now = 1_000.0

    def poll(self, *depths: Depth, after: float = 10.0, **more: object) -> None:
        self.now += after
        given = {
            "whole": frozenset({depth.place.partition for depth in depths} or {None}),
            "destinations": frozenset((d.place[0], d.place[1], d.place[3]) for d in depths),
            **more,
        }
        self.state.observe(QueueBacklog(self.now, depths, **given))  # type: ignore[arg-type]

    def count(self, *counts: Counts, after: float = 0.0) -> None:
        self.now += after
        self.state.observe_counts(QueueCounts(self.now, counts))

    def shown(self, name: str) -> dict[str, float | int | None]:
        families = show_queues(self.state, self.view, self.now).families
        return {
            label.strip(): value
            for family in families
            if family.name == name
            for label, value in zip(family.labels, family.values, strict=True)
        }

    def value(self, name: str) -> float | int | None:
        found = self.shown(name)
        assert len(found) <= 1
        return next(iter(found.values()), None)


def counts(
    published: int, acked: int, waiting: int, *, place: Place = QUEUE, **more: object
) -> Counts:
    given: dict[str, object] = {"redelivered": 0, "consumers": 1, **more}
    return Counts(place, waiting, published, acked, **given)  # type: ignore[arg-type]


def test_what_a_broker_counted_before_is_not_counted() -> None:
    world = World()
    world.poll(Depth(QUEUE, 5, 2))
    world.count(counts(1_000, 995, 5))
    assert world.value("mq_produced_messages_total") == 0
    assert world.value("mq_consumed_messages_total") == 0
    world.poll(Depth(QUEUE, 7, 2))
    world.count(counts(1_010, 1_003, 7))
    assert world.value("mq_produced_messages_total") == 10
    assert world.value("mq_consumed_messages_total") == 8
    assert world.value("mq_lag_messages") == 7
    assert world.value("mq_unacknowledged_messages") == 2


def test_a_list_that_is_older_than_what_was_read_by_name_loses_nothing() -> None:
    """RabbitMQ answers the list from a cache: 29 are acknowledged, then none, then all 50."""
    world = World()
    world.poll(Depth(QUEUE, 50))
    for published, acked, waiting in [(50, 0, 50), (50, 29, 21), (50, 0, 50), (50, 50, 0)]:
        world.count(counts(published, acked, waiting), after=1.0)
    assert world.value("mq_consumed_messages_total") == 50
    world.count(counts(60, 50, 10), after=1.0)
    world.count(counts(50, 58, 2), after=1.0)
    world.count(counts(70, 58, 12), after=1.0)
    assert world.value("mq_consumed_messages_total") == 58
    assert world.value("mq_produced_messages_total") == 20


def test_counters_that_fell_while_nothing_was_read_began_again() -> None:
    """Its node restarted 30 s ago: an old response is not that old."""
    world = World()
    world.poll(Depth(QUEUE, 0))
    world.count(counts(0, 0, 0))
    world.poll(Depth(QUEUE, 100), after=1.0)
    world.count(counts(100, 0, 100))
    world.poll(Depth(QUEUE, 50), after=30.0)
    world.count(counts(50, 0, 50))
    for turn in range(40):
        world.poll(Depth(QUEUE, 50), after=1.0)
        world.count(counts(50 + turn, turn, 50))
    age = world.value("mq_lag_seconds")
    assert age is None or age <= 75


def test_counters_that_began_again_are_followed_in_less_than_a_minute() -> None:
    world = World()
    world.poll(Depth(QUEUE, 0))
    for turn in range(4):
        world.count(counts(10 * turn, 10 * turn, 0), after=1.0)
    for turn in range(60):
        world.poll(Depth(QUEUE, 0), after=1.0)
        world.count(counts(turn // 2, turn // 2, 0), after=0.0)
    before = world.value("mq_consumed_messages_total")
    world.poll(Depth(QUEUE, 0), after=1.0)
    world.count(counts(100, 100, 0), after=0.0)
    assert world.value("mq_consumed_messages_total") == (before or 0) + 71


def test_rates_are_of_the_time_since_the_counts_were_known() -> None:
    world = World()
    world.count(
        counts(600, 595, 5)
    )  # the queue was not seen by then, and the next counts come after 30 s
    world.poll(Depth(QUEUE, 5))
    world.poll(Depth(QUEUE, 5))
    world.poll(Depth(QUEUE, 5))
    world.count(counts(1_000, 995, 5))
    assert world.value("mq_consumed_messages_per_second") is None
    world.poll(Depth(QUEUE, 5))
    world.count(counts(1_400, 1_395, 5))
    for rate in (
        "mq_consumed_messages_per_second",
        "mq_subscription_produced_messages_per_second",
        "mq_produced_messages_per_second",
    ):
        assert world.value(rate) == 40.0


def test_counters_that_began_anew_take_nothing_away_and_add_nothing() -> None:
    world = World()
    world.poll(Depth(QUEUE, 0))
    world.count(counts(100, 100, 0))
    world.count(counts(150, 150, 0), after=30)
    world.count(counts(20, 20, 0), after=30)
    assert world.value("mq_produced_messages_total") == 50
    assert world.value("mq_consumed_messages_total") == 50
    world.count(counts(30, 30, 0), after=30)
    assert world.value("mq_consumed_messages_total") == 60


def begun() -> World:
    """A queue that no message has entered yet."""
    world = World()
    world.poll(Depth(QUEUE, 0))
    world.count(counts(0, 0, 0))
    return world


def restarted(waiting: int, consumed: int = 400) -> World:
    """A queue with a message a second; its consumer lags by 100, leaves and returns."""
    world = begun()
    for number in range(1, 21):
        world.poll(Depth(QUEUE, min(10 * number, 100)))
        world.count(counts(10 * number, max(10 * number - 100, 0), min(10 * number, 100)))
    assert world.value("mq_lag_seconds") == pytest.approx(100, abs=5)
    for _ in range(4):
        world.poll(Depth(QUEUE, None))
    assert world.value("mq_lag_seconds") == pytest.approx(140, abs=5), "nobody reads meanwhile"
    world.poll(Depth(QUEUE, waiting))
    assert world.value("mq_lag_seconds") is None, "what left since it is back is not known"
    world.count(counts(0, 0, waiting))
    for part in (1, 2):
        world.poll(Depth(QUEUE, waiting))
        world.count(counts(part * consumed // 2, part * consumed // 2, waiting))
    return world


def test_behind_a_restart_of_its_node_a_short_age_is_absent_until_what_was_there_has_left() -> None:
    world = restarted(waiting=50)
    consumed = world.value("mq_consumed_messages_total")
    produced = world.value("mq_produced_messages_total")
    assert consumed == 100 + 200, "what was counted since it is back"
    assert produced == 200 + 200, "as much came as left and waits now"
    for _ in range(3):
        assert world.value("mq_lag_seconds") is None
        world.poll(Depth(QUEUE, 50))
        world.count(counts(400, 400, 50))
    for number in range(1, 13):
        world.poll(Depth(QUEUE, 50))
        world.count(counts(400 + 10 * number, 400 + 10 * number, 50))
        age = world.value("mq_lag_seconds")
        assert age is None or age == pytest.approx(50, abs=8)
    assert age is not None


def test_behind_a_restart_of_its_node_a_long_age_stays() -> None:
    world = begun()
    for number in range(1, 101):
        world.poll(Depth(QUEUE, 10 * number))
        world.count(counts(10 * number, 0, 10 * number, consumers=0))
    world.poll(Depth(QUEUE, None))
    world.poll(Depth(QUEUE, 1_000))
    assert world.value("mq_lag_seconds") is None
    for _ in range(4):
        world.count(counts(0, 0, 1_000, consumers=0))
        world.poll(Depth(QUEUE, 1_000))
    assert world.value("mq_lag_seconds") == pytest.approx(1_050, abs=15)


def test_behind_a_time_in_which_nothing_could_be_asked_the_age_waits_for_counts() -> None:
    world = begun()
    world.poll(Depth(QUEUE, 10))
    world.count(counts(10, 0, 10))
    world.poll(Depth(QUEUE, 10), after=60)
    assert world.value("mq_lag_seconds") is None
    world.count(counts(10, 0, 10))
    assert world.value("mq_lag_seconds") == pytest.approx(66, abs=6)


def test_a_queue_that_could_not_be_read_for_a_moment_goes_on_as_before() -> None:
    world = begun()
    for number in range(1, 11):
        world.poll(Depth(QUEUE, None) if number == 7 else Depth(QUEUE, 10 * number))
        if number != 7:
            world.count(counts(10 * number, 0, 10 * number))
        assert world.value("mq_lag_seconds") == pytest.approx(10 * number, abs=5)


def test_without_counts_there_are_neither_counters_nor_rates_nor_an_age() -> None:
    world = World()
    world.poll(Depth(QUEUE, 3))
    world.count(Counts(QUEUE, 3, None, None, None, None))
    for name in (
        "mq_consumed_messages_total",
        "mq_subscription_produced_messages_total",
        "mq_consumed_messages_per_second",
        "mq_redelivered_messages_total",
        "mq_lag_seconds",
    ):
        assert world.shown(name) == {}
    assert world.value("mq_lag_messages") == 3


def test_no_lag_is_no_age_whatever_is_known() -> None:
    world = World()
    world.poll(Depth(QUEUE, 0))
    assert world.value("mq_lag_seconds") == 0.0


def test_the_age_of_what_came_since_the_first_poll() -> None:
    world = World()
    world.poll(Depth(QUEUE, 0))
    world.count(counts(0, 0, 0))
    world.poll(Depth(QUEUE, 10))
    world.count(counts(10, 0, 10))
    for _ in range(5):
        world.poll(Depth(QUEUE, 10))
        world.count(counts(10, 0, 10))
    assert world.value("mq_lag_seconds") == pytest.approx(59.6, abs=0.2)
    assert list(world.shown("mq_lag_seconds_method")) == [
        '{vhost="/",destination="q",method="estimate"}'
    ]


def test_what_was_seen_empty_has_an_age_though_its_counts_came_later() -> None:
    world = World()
    world.poll(Depth(QUEUE, 0))
    world.poll(Depth(QUEUE, 4))
    world.count(counts(4, 0, 4), after=5)
    for _ in range(4):
        world.poll(Depth(QUEUE, 4), after=25)
    assert world.value("mq_lag_seconds") == pytest.approx(113, abs=3)


def test_what_was_there_before_has_an_age_only_by_its_timestamp() -> None:
    world = World()
    world.poll(Depth(QUEUE, 4))
    world.count(counts(10, 6, 4))
    assert world.shown("mq_lag_seconds") == {}
    world.count(counts(10, 6, 4, head_age=500.0))
    assert world.value("mq_lag_seconds") == 500.0
    world.poll(Depth(QUEUE, 4))
    assert world.value("mq_lag_seconds") == 510.0, "it stands still, so it grows"


def test_a_moving_head_gives_way_to_the_record_unless_it_means_something_else() -> None:
    world = World()
    world.poll(Depth(QUEUE, 0))
    world.count(counts(0, 0, 0))
    for step in range(1, 6):
        world.poll(Depth(QUEUE, 10))
        world.count(counts(10 * step + 10, 10 * step, 10, head_age=18.0))
    method = list(world.shown("mq_lag_seconds_method"))
    assert method == ['{vhost="/",destination="q",method="estimate"}']
    world.poll(Depth(QUEUE, 10))
    world.count(counts(70, 60, 10, head_age=86_400.0))
    assert world.value("mq_lag_seconds") == 86_400.0


def test_nsqds_own_percentile_is_for_what_the_record_does_not_reach() -> None:
    place = Place(None, "t", "c", "n:1")
    world = World()

    def told(enqueued: int, waiting: int) -> Counts:
        return Counts(place, waiting, enqueued, None, 0, 1, wait=33.0)

    world.poll(Depth(place, 5, 0, 0), counts=[told(5, 5)])
    assert world.value("mq_lag_seconds") == 33.0
    assert "percentile" in next(iter(world.shown("mq_lag_seconds_method")))
    world.poll(Depth(place, 4, 0, 0), counts=[told(9, 4)])
    assert world.value("mq_lag_seconds") == pytest.approx(8.75, abs=0.5)
    world.state.configure(StateSettings(120.0, method="percentile"))
    assert world.value("mq_lag_seconds") == 33.0


def test_a_latency_is_from_the_enqueueing_to_the_poll_that_saw_it_processed() -> None:
    world = World()
    world.poll(Depth(QUEUE, 0))
    world.count(counts(0, 0, 0))
    world.count(counts(10, 0, 10), after=10)
    world.count(counts(10, 10, 0), after=40)
    assert world.shown("mq_latency_seconds")['_count{vhost="/",destination="q"}'] == 1
    assert world.shown("mq_latency_seconds")['_sum{vhost="/",destination="q"}'] == pytest.approx(
        42.9, abs=0.1
    )


def test_a_latency_is_counted_also_if_the_counts_come_long_after_the_depth() -> None:
    """The queue is empty, then counts are read that do not include it yet, then those that do."""
    world = World()
    world.poll(Depth(QUEUE, 0))
    world.count(counts(0, 0, 0))
    world.poll(Depth(QUEUE, 10))
    world.count(counts(10, 0, 10))
    world.poll(Depth(QUEUE, 10), after=20)
    world.count(counts(10, 0, 10))
    world.poll(Depth(QUEUE, 0))
    world.count(counts(10, 0, 10))
    assert world.shown("mq_latency_seconds") == {}
    world.count(counts(10, 10, 0), after=5)
    assert world.shown("mq_latency_seconds")['_count{vhost="/",destination="q"}'] == 1
    assert world.shown("mq_latency_seconds")['_sum{vhost="/",destination="q"}'] == pytest.approx(
        32, abs=4
    )


def test_messages_that_were_purged_have_no_latency() -> None:
    world = World()
    world.poll(Depth(QUEUE, 0))
    world.count(counts(0, 0, 0))
    world.poll(Depth(QUEUE, 10))
    world.count(counts(10, 0, 10))
    world.poll(Depth(QUEUE, 0), after=20)
    world.count(counts(10, 0, 0))
    assert world.shown("mq_latency_seconds") == {}


def test_only_so_many_have_a_histogram_and_those_that_are_named() -> None:
    world = World()
    world.state.configure(StateSettings(120.0, 1, lambda group: group == "named"))
    places = [Place(None, "t", group, "n:1") for group in ("a", "b", "named")]

    def told(enqueued: int, waiting: int) -> Sequence[Counts]:
        return [Counts(place, waiting, enqueued, None, 0, 1) for place in places]

    for enqueued, waiting in ((0, 0), (5, 5), (5, 0)):
        depths = [Depth(place, waiting, 0, 0) for place in places]
        world.poll(*depths, counts=told(enqueued, waiting))
    counted = [label for label in world.shown("mq_latency_seconds") if label.startswith("_count")]
    assert counted == [
        '_count{destination="t",group="a"}',
        '_count{destination="t",group="named"}',
    ]


def test_what_can_not_be_read_is_held_and_then_hidden() -> None:
    world = World()
    world.poll(Depth(QUEUE, 5, 1))
    world.poll(Depth(QUEUE, None), after=60)
    assert world.value("mq_lag_messages") == 5
    world.poll(Depth(QUEUE, None), after=61)
    assert world.shown("mq_lag_messages") == {}
    world.poll(Depth(QUEUE, 6, 1))
    assert world.value("mq_lag_messages") == 6


def test_gone_means_missing_in_two_whole_polls() -> None:
    world = World()
    world.poll(Depth(QUEUE, 5))
    other = Depth(Place("/", "other", None, None), 0)
    world.poll(other)
    assert '{vhost="/",destination="q"}' in world.shown("mq_lag_messages")
    world.poll(other, whole=frozenset())
    world.poll(other, whole=frozenset())
    assert '{vhost="/",destination="q"}' in world.shown("mq_lag_messages"), "those were not whole"
    world.poll(other)
    assert list(world.shown("mq_lag_messages")) == ['{vhost="/",destination="other"}']
    assert world.state.losses["deleted"] == 1
    assert ("/", "q") not in world.state.destinations.queues


def test_a_vanished_node_takes_its_part_with_it() -> None:
    here, there = Place(None, "t", "c", "a:1"), Place(None, "t", "c", "b:1")
    produced = [Produced(None, "t", node, 5, None) for node in ("a:1", "b:1")]
    world = World()
    world.poll(Depth(here, 2, 0, 0), Depth(there, 3, 0, 0), produced=produced)
    world.poll(
        Depth(here, 2, 0, 0),
        produced=produced[:1],
        whole=frozenset({"a:1"}),
        vanished=frozenset({"b:1"}),
    )
    assert list(world.shown("mq_lag_messages").values()) == [2]
    assert len(world.shown("mq_produced_messages_total")) == 1
    assert world.state.losses["node_gone"] == 1


def test_rates_are_of_what_was_counted_and_stay_elsewhere() -> None:
    world = World()
    other = Place("/", "other", None, None)
    world.poll(Depth(QUEUE, 0), Depth(other, 0))
    world.count(counts(0, 0, 0), counts(0, 0, 0, place=other))
    world.count(counts(100, 100, 0), counts(50, 50, 0, place=other), after=10)
    assert set(world.shown("mq_consumed_messages_per_second").values()) == {5.0, 10.0}
    world.count(counts(200, 200, 0), after=10)
    assert set(world.shown("mq_consumed_messages_per_second").values()) == {5.0, 10.0}


def test_series_are_limited_by_whole_subscriptions_the_most_lagging_first() -> None:
    world = World(View(hold=120.0, max_series=14, per_partition=True))
    depths = [Depth(Place("/", f"q{n}", None, None), n, 0) for n in range(6)]
    world.poll(*depths)
    shown = show_queues(world.state, world.view, world.now)
    assert shown.series <= 14
    assert shown.dropped > 0
    assert '{vhost="/",destination="q5"}' in world.shown("mq_lag_messages")
    assert '{vhost="/",destination="q0"}' not in world.shown("mq_lag_messages")


def test_sums_where_partitions_are_not_wanted() -> None:
    world = World(View(hold=120.0, max_series=1_000, per_partition=False))
    places = [Place(None, "t", "c", node) for node in ("a:1", "b:1")]
    world.poll(*(Depth(place, 4, 1, 0) for place in places))
    assert world.shown("mq_lag_messages") == {'{destination="t",group="c"}': 8}
    world.poll(Depth(places[0], 4, 1, 0), after=121, whole=frozenset({"a:1"}))
    assert world.shown("mq_lag_messages") == {}, "not understated by the part that can't be read"


def test_a_sum_of_counters_does_not_fall_when_a_node_goes() -> None:
    world = World(View(hold=120.0, max_series=1_000, per_partition=False))
    here, there = Place(None, "t", "c", "a:1"), Place(None, "t", "c", "b:1")

    def produced(first: int, second: int) -> list[Produced]:
        return [Produced(None, "t", "a:1", first, None), Produced(None, "t", "b:1", second, None)]

    depths = [Depth(here, 0, 0, 0), Depth(there, 0, 0, 0)]
    world.poll(*depths, produced=produced(0, 0))
    world.poll(*depths, produced=produced(5, 3))
    assert world.value("mq_produced_messages_total") == 8
    world.poll(
        depths[0],
        produced=produced(6, 0)[:1],
        whole=frozenset({"a:1"}),
        vanished=frozenset({"b:1"}),
    )
    assert world.value("mq_produced_messages_total") == 9


def test_named_groups_that_come_and_go_leave_the_limit_as_it_is() -> None:
    world = World()
    world.state.configure(StateSettings(120.0, 1, lambda group: group.startswith("named")))

    def run(*groups: str) -> None:
        places = [Place(None, "t", group, "n:1") for group in groups]
        for enqueued, waiting in ((0, 0), (5, 5), (5, 0)):
            told = [Counts(place, waiting, enqueued, None, 0, 1) for place in places]
            world.poll(*(Depth(place, waiting, 0, 0) for place in places), counts=told)

    run("named-1", "named-2", "named-3")
    run("a", "b", "c")
    counted = [label for label in world.shown("mq_latency_seconds") if label.startswith("_count")]
    assert counted == ['_count{destination="t",group="a"}']


def test_rows_have_what_the_page_needs() -> None:
    world = World()
    world.poll(Depth(QUEUE, 5, 1, paused=True))
    world.count(counts(10, 5, 5))
    show_queues(world.state, world.view, world.now)
    (row,) = queue_rows(world.state, Named(), world.view, world.now, Wanted(partitions=True))
    assert (row["vhost"], row["destination"], row["group"]) == ("/", "q", None)
    assert (row["lag_messages"], row["paused"]) == (5, True)
    assert row["partitions"] == [
        {
            "partition": None,
            "lag_messages": 5,
            "lag_seconds": None,
            "committed_offset": None,
            "unacknowledged_messages": 1,
            "consumers": 1,
        }
    ]


# Streams


def stream(world: World, end: int, lag: int, group: str | None = None, replay: int = 0) -> None:
    """One poll of a stream that one group of consumers reads."""
    place = Place("/", "s", group, None)
    world.poll(
        Depth(place, lag),
        counts=[Counts(place, lag, end, None, None, 1, replay=replay)],
        produced=[Produced("/", "s", None, end, None)],
        streams=[StreamOffsets(place, end - lag, end, is_upper_bound=lag > 0)],
    )


def test_consumers_without_a_name_count_a_streams_messages_once() -> None:
    world = World()
    stream(world, 0, 0)
    stream(world, 132, 0)
    assert world.value("mq_produced_messages_total") == 132
    assert world.value("mq_subscription_produced_messages_total") == 132
    assert world.value("mq_consumed_messages_total") == 132


def test_a_consumer_that_stops_goes_back_to_what_it_stored() -> None:
    """The age is that of the oldest waiting message, and going back produces nothing."""
    world = World()
    stream(world, 0, 0, "app")
    stream(world, 60, 0, "app", replay=60)
    stream(world, 120, 0, "app", replay=90)
    stream(world, 120, 0, "app", replay=90)
    stream(world, 120, 90, "app")
    assert world.value("mq_lag_messages") == 90
    assert world.value("mq_committed_offset") == 30
    assert world.value("mq_lag_upper_bound") == 1
    assert world.value("mq_produced_messages_total") == 120
    assert world.value("mq_subscription_produced_messages_total") == 120
    assert world.value("mq_consumed_messages_total") == 120
    # Message 31 came half way between the first and the second poll.
    assert world.value("mq_lag_seconds") == pytest.approx(35, abs=0.2)


def test_offsets_of_partitions() -> None:
    world = World()
    places = [Place("/", "super", "app", str(number)) for number in range(2)]
    world.poll(
        *(Depth(place, 1) for place in places),
        counts=[Counts(place, 1, 9, None, None, 1, replay=0) for place in places],
        produced=[Produced("/", "super", place.partition, 9, None) for place in places],
        streams=[StreamOffsets(place, 8, 9) for place in places],
    )
    assert list(world.shown("mq_committed_offset").values()) == [8, 8]
    ends = world.shown("mq_log_end_offset")
    assert [label.split("partition=")[1][:3] for label in ends] == ['"0"', '"1"']
    world.view = View(hold=120.0, max_series=500_000, per_partition=False)
    assert world.value("mq_log_end_offset") == 18
    assert world.value("mq_committed_offset") == 16


def test_a_depth_that_is_older_than_the_counts_makes_no_messages_come() -> None:
    """A quorum queue's totals may be 5 s old: they include 50 that were processed since."""
    world = World()
    world.poll(Depth(QUEUE, 0, old=2.5))
    world.count(counts(0, 0, 0))
    world.poll(Depth(QUEUE, 0, old=2.5))
    world.count(counts(0, 0, 0), after=3)
    world.poll(Depth(QUEUE, 50, old=2.5), after=7)
    world.count(counts(0, 50, 0), after=1)
    world.poll(Depth(QUEUE, 50, old=2.5), after=1)
    assert world.value("mq_produced_messages_total") == 50
    for _ in range(3):
        world.poll(Depth(QUEUE, 0, old=2.5))
        world.count(counts(0, 50, 0))
    assert world.value("mq_produced_messages_total") == 50
    assert world.value("mq_consumed_messages_total") == 50


def test_only_what_came_after_a_complete_poll_is_new() -> None:
    """A queue that a first, incomplete poll missed may be old.

    So may a queue that a reload selected.
    """
    first, missed, created = (Place("/", name, None, None) for name in ("q", "missed", "created"))
    world = World()
    world.poll(Depth(first, 5), whole=frozenset())
    world.poll(Depth(first, 5), Depth(missed, 5))
    world.poll(Depth(first, 5), Depth(missed, 5), Depth(created, 5))
    new = {key[1]: sub.is_new for key, sub in world.state.subscriptions.items()}
    assert new == {"q": False, "missed": False, "created": True}
    world.state.reselect()
    chosen = Place("/", "chosen", None, None)
    world.poll(Depth(chosen, 5))
    assert not world.state.subscriptions["/", "chosen", None].is_new
