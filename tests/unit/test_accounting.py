"""Queues whose consumers the broker does not count: unknown values are absent, none is stalled."""

from __future__ import annotations

import pytest

from exporter.analysis.judging import Judging
from exporter.analysis.queues.accounting import Accounting
from exporter.collectors.rabbitmq.counting import counting_of, never_counted, uncounted
from exporter.judgement.thresholds import ThresholdTable
from exporter.model import Counts, Depth
from tests.unit.test_queue_state import QUEUE, World

AGE, PRODUCED, CONSUMED, LEAST = (
    "mq_lag_seconds",
    "mq_subscription_produced_messages_per_second",
    "mq_consumed_messages_per_second",
    "mq_consumed_messages_per_second_lower_bound",
)
TOTALS = ("mq_consumed_messages_total", "mq_produced_messages_total")


class Judged(World):
    """A world in which each poll is judged, with a stop time of 60 s."""

    def __init__(self) -> None:
        super().__init__()
        self.judging = Judging("rabbitmq", "r", ThresholdTable(()))

    def step(
        self,
        lag: int,
        *,
        published: int = 0,
        delivered: int = 0,
        consumers: int = 1,
        every: bool = False,
        unacknowledged: int = 0,
        judged_first: bool = False,
    ) -> None:
        """After ten seconds, read the depth and the counts; `judged_first` judges in between."""
        self.poll(Depth(QUEUE, lag, unacknowledged))
        if judged_first:
            self.judging.judge(self.state, self.now, self.now)
        self.count(
            Counts(
                QUEUE,
                lag,
                published,
                delivered,
                0,
                consumers,
                deliveries=delivered,
                every_protocol=every,
            )
        )
        if not judged_first:
            self.judging.judge(self.state, self.now, self.now)

    @property
    def status(self) -> str:
        (subscription,) = self.state.subscriptions.values()
        return subscription.judge.status

    @property
    def reason(self) -> str | None:
        (subscription,) = self.state.subscriptions.values()
        return subscription.judge.reason


def test_without_counts_rates_and_ages_are_absent_and_a_depth_that_falls_moves() -> None:
    world = Judged()
    for turn in range(60):
        world.step(20 + 5 * (turn % 2))
    for name in (AGE, PRODUCED, CONSUMED, *TOTALS):
        assert world.value(name) is None, name
    assert world.status == "ok"
    least = world.value(LEAST)
    assert least == pytest.approx(0.25, rel=0.1), "every second poll, 5 left"
    assert "at least" in (world.reason or "")


def test_a_depth_that_stands_still_without_counts_is_unknown_and_not_stalled() -> None:
    world = Judged()
    for _ in range(60):
        world.step(20)
    assert world.status == "unknown"
    assert "does not count" in (world.reason or "")
    world.step(20, unacknowledged=3)
    assert world.status != "stalled"


@pytest.mark.parametrize("seconds", [80, 150, 250])
def test_one_message_in_minutes_by_a_consumer_that_is_not_counted_is_a_movement(
    seconds: int,
) -> None:
    """Between two of them its deliveries count as counted, because nothing contradicts it."""
    world, lag = Judged(), 500
    statuses = set()
    for turn in range(200):
        lag -= turn * 10 % seconds == 0
        world.step(lag, published=600, unacknowledged=1, judged_first=True)
        statuses.add(world.status)
    assert statuses == {"unknown", "ok"}
    assert world.status == "ok"


def test_without_consumers_nothing_is_consumed_and_the_age_is_known() -> None:
    world = Judged()
    for lag in range(0, 300, 10):
        world.step(lag, consumers=0)
    assert world.value(CONSUMED) == 0
    assert world.value(PRODUCED) == pytest.approx(1, rel=0.1)
    assert world.value(AGE) == pytest.approx(290, abs=20)
    for _ in range(60):
        world.step(290, consumers=0)
    assert world.status == "stopped"


def test_published_and_counted_but_consumed_without_an_ack() -> None:
    """Published by AMQP 0-9-1 and consumed by 1.0: the age is known, the consume rate is not."""
    world = Judged()
    world.step(100, published=100)
    for turn in range(1, 60):
        world.step(100, published=100 + 20 * turn)
    assert world.value(CONSUMED) is None
    assert world.value(PRODUCED) == pytest.approx(2, rel=0.1)
    assert world.value(AGE) == pytest.approx(50, abs=15), "100 messages at 2 a second"
    assert world.value(LEAST) == pytest.approx(2, rel=0.2)
    assert world.status == "lagging", "its age is past 5 s, and it moves"


def test_a_queue_that_was_never_consumed_has_a_consume_rate_of_zero() -> None:
    world = Judged()
    for turn in range(60):
        world.step(100 + 20 * turn, published=100 + 20 * turn)
    assert world.value(CONSUMED) == 0
    assert world.status == "stalled"


def test_a_consumer_that_is_counted_stays_counted() -> None:
    world = Judged()
    for turn in range(60):
        world.step(10, published=10 + 20 * turn, delivered=20 * turn)
    assert world.value(CONSUMED) == pytest.approx(2, rel=0.1)
    assert world.value(LEAST) is None


def test_one_purge_is_no_evidence_of_uncounted_consumers() -> None:
    world = Judged()
    for _ in range(6):
        world.step(500, published=600, delivered=100)
    for _ in range(60):
        world.step(0, published=600, delivered=100)
    assert world.value(CONSUMED) == 0


@pytest.mark.parametrize("fallen_late", [False, True])
def test_a_depth_that_is_older_than_the_counts_is_no_evidence_of_uncounted_consumers(
    *, fallen_late: bool
) -> None:
    """A quorum queue of 4.0.5: five messages were acknowledged, then the depth fell."""
    world = Judged()

    def see(lag: int, outstanding: int, counted: int, consumers: int) -> None:
        world.poll(Depth(QUEUE, lag, old=2.5), after=0.3)
        world.count(
            Counts(
                QUEUE,
                outstanding,
                counted,
                counted,
                0,
                consumers,
                deliveries=counted,
                every_protocol=False,
            )
        )

    see(0, 0, 0, 0)
    for _ in range(30):
        see(5, 0, 0, 0)
    see(5, 5, 5, 0)
    see(5, 5, 5, 0)
    if fallen_late:
        see(3, 5, 5, 1)
        see(1, 5, 5, 1)
    for _ in range(5):
        see(0, 0, 5, 1)
    assert world.value("mq_consumed_messages_total") == 5
    assert world.value(LEAST) is None


def test_a_departure_that_is_seen_twice_is_one() -> None:
    """They show in the depth first and in the counts later, or vice versa."""
    accounting = Accounting()
    seen = []
    for at, fallen, left in [
        (0, 0, 0),
        (1, 5, 0),
        (2, 5, 5),
        (3, 5, 8),
        (4, 8, 8),
        (30, 8, 8),
        (31, 9, 8),
        (60, 9, 9),
    ]:
        accounting.fallen = fallen
        seen.append(accounting.departed(left, float(at)))
    assert seen == [0, 5, 0, 3, 0, 0, 1, 1]


def test_consumers_that_moved_from_0_9_1_to_1_0_are_uncounted_and_back_again() -> None:
    world = Judged()
    for turn in range(10):
        world.step(50, published=50 + 20 * turn, delivered=20 * turn)
    for turn in range(10, 30):
        world.step(50, published=50 + 20 * turn, delivered=180)
    assert world.value(CONSUMED) is None
    assert world.status == "lagging", "its age is past 5 s, and it moves"
    for turn in range(30, 34):
        world.step(50, published=50 + 20 * turn, delivered=180 + 20 * (turn - 29))
    assert world.value(CONSUMED) is None, "the window has uncounted messages in it"
    assert world.value("mq_consumed_messages_total") is not None
    for turn in range(34, 50):
        world.step(50, published=50 + 20 * turn, delivered=180 + 20 * (turn - 29))
    assert world.value(CONSUMED) == pytest.approx(2, rel=0.1)


def test_a_broker_that_counts_everything_has_zeros() -> None:
    world = Judged()
    for _ in range(60):
        world.step(20, every=True)
    assert world.value(CONSUMED) == 0
    assert world.status == "stalled"


@pytest.mark.parametrize(
    ("version", "listeners", "mode", "every"),
    [
        ("3.10.8", ("amqp", "mqtt"), "basic", True),
        ("3.10.8", ("amqp",), "none", False),
        ("3.13.7", ("amqp",), "basic", True),
        ("3.13.7", ("amqp", "mqtt"), "basic", False),
        ("3.13.7", ("http/web-mqtt",), "basic", False),
        ("4.0.5", ("amqp",), "detailed", False),
        ("10.2.0-rc.1", (), "basic", False),
        (None, (), "basic", False),
    ],
)
def test_what_a_cluster_counts(
    version: str | None, listeners: tuple[str, ...], mode: str, *, every: bool
) -> None:
    overview = {
        "rabbitmq_version": version,
        "rates_mode": mode,
        "listeners": [{"protocol": name} for name in listeners],
    }
    assert counting_of(overview).every_protocol is every


@pytest.mark.parametrize(
    "odd", [None, [], {}, {"listeners": 5, "rates_mode": []}, {"listeners": ["x"]}]
)
def test_an_overview_that_cannot_be_read_does_not_promise_counts(odd: object) -> None:
    assert not counting_of(odd).every_protocol


def test_idle_consumers_that_are_counted_are_not_called_uncounted() -> None:
    world = Judged()
    for _ in range(60):
        world.step(0)
    assert world.status == "ok"
    assert "none was published yet" in (world.reason or "")


STATS = {"publish": 300}


@pytest.mark.parametrize(
    ("row", "is_uncounted", "is_never"),
    [
        ({"messages": 30, "consumers": 1}, True, False),
        ({"messages": 250, "consumers": 1, "message_stats": STATS}, True, False),
        ({"messages": 300, "consumers": 1, "message_stats": STATS}, False, False),
        (
            {"messages": 250, "consumers": 1, "message_stats": {**STATS, "deliver_get": 50}},
            False,
            False,
        ),
        ({"messages": 0, "consumers": 1, "message_stats": STATS}, False, False),
        ({"messages": 0, "consumers": 1}, False, True),
        ({"messages": 30, "consumers": 0}, False, False),
        ({"messages": 30, "consumers": 1, "type": "stream"}, False, False),
        ({"messages": 30, "consumers": 1, "message_stats": {"publish": "x"}}, False, False),
        ({"messages": "x", "consumers": 1, "message_stats": STATS}, False, False),
    ],
)
def test_which_queues_are_named_as_not_counted(
    row: dict[str, object], *, is_uncounted: bool, is_never: bool
) -> None:
    rows = [{"name": "q", "vhost": "/", "type": "classic", **row}]
    assert bool(uncounted(rows)) is is_uncounted
    assert bool(never_counted(rows)) is is_never


def test_the_first_messages_of_a_queue_without_statistics_are_counted_once() -> None:
    """As RabbitMQ 4.0 reported a queue that was idle for a minute and then loaded.

    Before the first message it has no statistics, so nothing is known. The depth is newer than the
    counters; what it shows early, they include later.
    """
    world = Judged()
    for _ in range(6):
        world.step(0, consumers=2)
    assert world.value(CONSUMED) is None, "the broker has counted nothing"
    polls = [
        (248, 612, 383),
        (359, 938, 583),
        (336, 1_121, 783),
        (179, 1_174, 983),
        (36, 1_221, 1_183),
        (12, 1_391, 1_382),
        (130, 1_709, 1_582),
        (76, 1_878, 1_802),
        (76, 1_878, 1_802),
    ]
    for number, (lag, published, acknowledged) in enumerate(polls):
        delivered = acknowledged + 4
        world.poll(Depth(QUEUE, lag, 4))
        world.count(Counts(QUEUE, lag, published, acknowledged, 0, 2, deliveries=delivered))
        if number:
            assert world.value(PRODUCED) is not None, "nothing moved while nothing was known"
            assert world.value(CONSUMED) is not None
    assert world.value("mq_produced_messages_total") == 1_878
    assert world.value("mq_consumed_messages_total") == 1_802


def test_a_depth_that_comes_before_all_counters_is_counted_once() -> None:
    """50 messages are published to an idle queue; the first counters after that are still old."""
    world = Judged()
    for _ in range(6):
        world.step(0, consumers=1)
    world.poll(Depth(QUEUE, 50, 8))
    world.count(Counts(QUEUE, 0, 0, 0, 0, 1, deliveries=8))
    world.poll(Depth(QUEUE, 50, 8), after=5.0)
    world.count(Counts(QUEUE, 50, 50, 0, 0, 1, deliveries=8))
    for _ in range(4):
        world.poll(Depth(QUEUE, 50, 8))
        world.count(Counts(QUEUE, 50, 50, 0, 0, 1, deliveries=8))
        assert world.value("mq_produced_messages_total") == 50


@pytest.mark.parametrize("first", [1, 20, 50])
def test_messages_that_came_before_the_first_consumer_are_counted_once(first: int) -> None:
    """A consumer begins before the first messages are in the counters: for one poll it seems that
    nothing is counted. Later the counters include all messages.
    """
    world = Judged()
    for _ in range(3):
        world.poll(Depth(QUEUE, 0, 0), after=1.0)
        world.count(Counts(QUEUE, 0, 0, 0, 0, 0, every_protocol=False))
    world.poll(Depth(QUEUE, first, 8), after=0.5)
    world.count(Counts(QUEUE, first, 0, 0, 0, 1, every_protocol=False))
    world.poll(Depth(QUEUE, 50, 8), after=0.5)
    world.count(Counts(QUEUE, 50, 0, 0, 0, 1, every_protocol=False))
    for published in (30, 50, 50):
        world.poll(Depth(QUEUE, 50, 8), after=2.0)
        world.count(Counts(QUEUE, 50, published, 0, 0, 1, deliveries=8, every_protocol=False))
        assert world.value("mq_produced_messages_total") == 50
    for done in (20, 50, 50):
        world.poll(Depth(QUEUE, 50 - done, 8), after=2.0)
        world.count(Counts(QUEUE, 50, 50, done, 0, 1, deliveries=50, every_protocol=False))
    assert world.value("mq_produced_messages_total") == 50
    assert world.value("mq_consumed_messages_total") == 50


def test_a_gap_with_messages_that_are_never_counted_adds_those_that_are() -> None:
    """10 messages came in a way that is not counted, long before 30 counted ones: 40 in all."""
    world = Judged()
    for _ in range(3):
        world.poll(Depth(QUEUE, 0, 0), after=1.0)
        world.count(Counts(QUEUE, 0, 0, 0, 0, 0, every_protocol=False))
    for _ in range(6):
        world.poll(Depth(QUEUE, 10, 0))
        world.count(Counts(QUEUE, 10, 0, 0, 0, 1, every_protocol=False))
    for _ in range(3):
        world.poll(Depth(QUEUE, 40, 8))
        world.count(Counts(QUEUE, 40, 30, 0, 0, 1, deliveries=8, every_protocol=False))
        assert world.value("mq_produced_messages_total") == 40
