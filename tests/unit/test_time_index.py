"""The index of timestamp lookups, tested against a broker whose log is a list of timestamps."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from exporter.collectors.kafka.ages.estimates import DISORDER_MS, AgeTolerance
from exporter.collectors.kafka.ages.known_times import ENTRIES
from exporter.collectors.kafka.ages.partition_times import PartitionTimes
from exporter.collectors.kafka.ages.read_points import ReadPoint, ReadRecord
from exporter.collectors.kafka.ages.time_index import TimeIndex

TOLERANCE = AgeTolerance(1.0, 0.01)
EPOCH = 1_700_000_000_000
"""Timestamp of the first record, in milliseconds."""
ROUNDS = 24
"""Rounds of lookups in a poll, as in `finder`."""
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000


class Broker:
    """One partition: its records, and its answers."""

    def __init__(self, timestamps: Iterable[int], start: int = 0) -> None:
        self.log = list(timestamps)
        self.start = start
        self.asked = 0

    @property
    def end(self) -> int:
        return len(self.log)

    def lookup(self, asked: int) -> tuple[int, int]:
        """The first record with at least this timestamp, and its timestamp."""
        self.asked += 1
        for offset in range(self.start, self.end):
            if self.log[offset] >= asked:
                return offset, self.log[offset]
        return -1, -1


def points(offsets: Iterable[int]) -> set[ReadPoint]:
    return {(offset, False) for offset in offsets}


def poll(
    part: PartitionTimes, broker: Broker, offsets: Iterable[int], at_ms: int, *, read: int = 0
) -> int:
    """One poll as in `finder`, with at most `read` records read; returns the rounds of lookups."""
    part.observe(broker.start, broker.end, points(offsets))
    rounds = 0
    while rounds < ROUNDS:
        questions = part.questions(at_ms, TOLERANCE)
        if rounds == 0:
            questions = [*questions, *part.feed(at_ms, TOLERANCE)]
        if not questions:
            break
        rounds += 1
        for question in questions:
            part.add_answer(question, *broker.lookup(question))
    for point in part.unread_best_first()[:read]:
        read_at(part, broker, point[0])
    return rounds


def read_at(part: PartitionTimes, broker: Broker, offset: int) -> None:
    part.add_read((offset, False), ReadRecord(broker.log[offset] / 1000, offset, broker.end))


def assert_within_bounds(part: PartitionTimes, broker: Broker, at_ms: int, *, proven: bool) -> None:
    """All returned times are within their error bounds."""
    for point in part.wanted:
        found = part.estimate(point, at_ms, TOLERANCE, proven=proven)
        if found is not None and found.error >= 0:
            off = abs(age(at_ms, found.time) - age(at_ms, broker.log[point[0]] / 1000))
            assert off <= found.error + 1e-6, (point, found, broker.log[point[0]])


def assert_within_tolerance(part: PartitionTimes, at_ms: int) -> None:
    """The time of every offset is within the tolerance."""
    for point in part.wanted:
        found = part.estimate(point, at_ms, TOLERANCE, proven=True)
        assert found is not None, point
        enough = max(TOLERANCE.seconds, TOLERANCE.ratio * age(at_ms, found.time))
        assert 0.0 <= found.error <= enough + 1e-6, point


def age(at_ms: int, time: float) -> float:
    return max(at_ms / 1000 - time, 0.0)


def proven() -> PartitionTimes:
    """A partition with enough records read that agreed with the index."""
    part = PartitionTimes("t", 0)
    part.trust.everywhere = True
    return part


gaps = st.lists(
    st.one_of(
        st.just(0),
        st.integers(1, 5),
        st.integers(0, 10 * SECOND),
        st.integers(0, HOUR),
        st.integers(0, 2 * DAY),
    ),
    min_size=1,
    max_size=60,
)
ordered = gaps.map(lambda found: [EPOCH + sum_ for sum_ in accumulate(found)])
since = st.one_of(
    st.just(0), st.integers(-2 * HOUR, 3 * SECOND), st.integers(-5, 5), st.integers(0, 8 * DAY)
)
"""Milliseconds from the last record to the poll.

A negative number is a later record or a clock that is fast.
"""


@st.composite
def ordered_logs(draw: st.DrawFn, most_back: int = 0) -> tuple[list[int], set[int], int]:
    """Timestamps that decrease by at most `most_back`, some offsets, and the time of the poll."""
    stamps = draw(ordered)
    if most_back:
        back = st.lists(st.integers(0, most_back), min_size=len(stamps), max_size=len(stamps))
        stamps = [stamp - less for stamp, less in zip(stamps, draw(back), strict=True)]
    offsets = draw(st.sets(st.integers(0, len(stamps) - 1), min_size=1, max_size=20))
    return stamps, offsets, max(stamps) + draw(since)


# Any log in order


@given(ordered_logs())
def test_one_poll_is_enough_for_an_ordered_log(
    given_log: tuple[list[int], set[int], int],
) -> None:
    stamps, offsets, at_ms = given_log
    part, broker = proven(), Broker(stamps)
    assert poll(part, broker, offsets, at_ms) < ROUNDS
    assert_within_tolerance(part, at_ms)
    assert_within_bounds(part, broker, at_ms, proven=True)


@given(ordered_logs(most_back=DISORDER_MS))
def test_timestamps_slightly_out_of_order_stay_within_the_bounds(
    given_log: tuple[list[int], set[int], int],
) -> None:
    stamps, offsets, at_ms = given_log
    part, broker = proven(), Broker(stamps)
    poll(part, broker, offsets, at_ms)
    assert_within_tolerance(part, at_ms)
    assert_within_bounds(part, broker, at_ms, proven=True)


def test_times_without_a_read_record_have_no_error_bound() -> None:
    part, broker = PartitionTimes("t", 0), Broker(EPOCH + i * SECOND for i in range(100))
    poll(part, broker, [50], EPOCH + HOUR)
    found = part.estimate((50, False), EPOCH + HOUR, TOLERANCE, proven=True)
    assert found is not None
    assert found.error < 0
    assert found.time == pytest.approx(EPOCH / 1000 + 50, abs=36)


def test_two_records_that_agree_are_enough() -> None:
    part, broker = PartitionTimes("t", 0), Broker(EPOCH + i * SECOND for i in range(100))
    checked = []
    for _ in range(2):
        poll(part, broker, [30, 50, 70], EPOCH + HOUR, read=1)
        checked.append(part.trust.everywhere)
    assert checked == [False, True]
    assert_within_tolerance(part, EPOCH + HOUR)
    assert_within_bounds(part, broker, EPOCH + HOUR, proven=True)


def test_a_record_read_before_the_lookups_are_done_proves_nothing() -> None:
    """Old records were replayed between newer ones.

    A newer one inside a wide bracket agrees with it.
    """
    newer = [EPOCH + i * MINUTE for i in range(40)]
    older = [EPOCH - DAY + i * MINUTE for i in range(40)]
    part, broker = PartitionTimes("t", 0), Broker([*newer[:20], *older, *newer[20:]])
    at_ms = EPOCH + HOUR
    part.observe(broker.start, broker.end, points([30, 70]))
    for question in part.questions(at_ms, TOLERANCE):
        part.add_answer(question, *broker.lookup(question))
    assert part.questions(at_ms, TOLERANCE)
    read_at(part, broker, 70)
    assert (part.trust.disordered, part.trust.everywhere) == (False, False)
    poll(part, broker, [30, 70], at_ms, read=1)
    assert part.trust.disordered


class Switched(Broker):
    """A partition with records stamped by the broker in the range `stamped` of offsets.

    The topic's message.timestamp.type was changed at both ends of the range.
    """

    def __init__(self, timestamps: Iterable[int], stamped: range) -> None:
        super().__init__(timestamps)
        self.stamped = stamped


def read_kind(part: PartitionTimes, broker: Switched, offset: int) -> None:
    """Read a record, and note who stamped it."""
    found = ReadRecord(
        broker.log[offset] / 1000, offset, broker.end, stamped=offset in broker.stamped
    )
    part.add_read((offset, False), found)


OLD = [EPOCH + i * SECOND for i in range(20)] + [EPOCH - HOUR + i * SECOND for i in range(20)]
NEW = [EPOCH + MINUTE + i * SECOND for i in range(60)]


def test_records_stamped_by_the_broker_prove_nothing_for_earlier_ones() -> None:
    """Timestamps are LogAppendTime from offset 40 on.

    Before that, producers wrote them out of order.
    """
    part, broker = PartitionTimes("t", 0), Switched([*OLD, *NEW], range(40, 100))
    at_ms = NEW[-1] + SECOND
    offsets = {30, 55, 60, 70, 80, 90}
    poll(part, broker, offsets, at_ms)
    for offset in (60, 70):
        read_kind(part, broker, offset)
    assert part.trust.anywhere
    assert [part.trust.covers(offset) for offset in (30, 55, 60, 80)] == [False, False, True, True]
    assert_within_bounds(part, broker, at_ms, proven=True)
    promised = {
        p[0] for p, e in part.estimates(at_ms, TOLERANCE, proven=True).items() if e.error >= 0
    }
    assert promised == {60, 70, 80, 90}
    assert part.unread_best_first()[0] == (30, False), "the first one would vouch for all"
    read_kind(part, broker, 30)
    assert part.trust.disordered


def test_a_producer_timestamp_after_broker_timestamps_ends_the_trust() -> None:
    """LogAppendTime until offset 60, then CreateTime: old records are replayed after it."""
    stamps = [*NEW, *(EPOCH - HOUR + i * SECOND for i in range(40))]
    part, broker = PartitionTimes("t", 0), Switched(stamps, range(60))
    at_ms = NEW[-1] + MINUTE
    poll(part, broker, {10, 20, 30, 80}, at_ms)
    for offset in (10, 20):
        read_kind(part, broker, offset)
    assert part.trust.covers(30)
    read_kind(part, broker, 80)
    assert part.trust.disordered
    assert not part.trust.covers(30)
    read_kind(part, broker, 30)
    assert not part.trust.covers(30), "what is in front of a producer's timestamp does not count"


def test_two_records_stamped_by_the_broker_confirm_all_after_the_first() -> None:
    part, broker = PartitionTimes("t", 0), Switched(NEW, range(len(NEW)))
    at_ms = NEW[-1] + HOUR
    poll(part, broker, {5, 20, 40}, at_ms)
    read_kind(part, broker, 5)
    assert not part.trust.covers(20)
    read_kind(part, broker, 40)
    assert part.trust.covers(20)
    assert_within_tolerance(part, at_ms)
    assert_within_bounds(part, broker, at_ms, proven=True)


# Timestamps in another unit


def in_seconds(stamp: int) -> int:
    return stamp // 1000


def in_nanoseconds(stamp: int) -> int:
    return stamp * 1_000_000


@pytest.mark.parametrize("unit", [in_seconds, in_nanoseconds])
def test_a_log_with_another_unit_has_no_ages(unit: Callable[[int], int]) -> None:
    part, broker = proven(), Broker(unit(EPOCH + i * SECOND) for i in range(100))
    for _ in range(3):
        assert poll(part, broker, {0, 50, 99}, EPOCH + HOUR) < ROUNDS
    assert broker.asked <= 6
    assert part.estimates(EPOCH + HOUR, TOLERANCE, proven=True) == {}


@pytest.mark.parametrize("unit", [in_seconds, in_nanoseconds])
@given(given_log=ordered_logs(), data=st.data())
def test_records_with_another_unit_do_not_break_the_bounds_of_others(
    unit: Callable[[int], int], given_log: tuple[list[int], set[int], int], data: st.DataObject
) -> None:
    stamps, offsets, at_ms = given_log
    odd = data.draw(st.sets(st.integers(0, len(stamps) - 1), max_size=5))
    part = proven()
    broker = Broker(unit(stamp) if at in odd else stamp for at, stamp in enumerate(stamps))
    assert poll(part, broker, offsets, at_ms) < ROUNDS
    part.wanted -= points(odd)
    assert_within_bounds(part, broker, at_ms, proven=True)


def test_a_read_record_with_another_unit_has_the_age_of_close_neighbours_and_no_bound() -> None:
    stamps = [EPOCH + i * SECOND for i in range(100)]
    stamps[60] = in_seconds(stamps[60])
    part, broker = proven(), Broker(stamps)
    at_ms = EPOCH + HOUR
    part.observe(0, 100, points({50, 60}))
    part.add_read((60, False), ReadRecord(None, 60, 100))
    poll(part, broker, {50, 60}, at_ms)
    found = part.estimate((60, False), at_ms, TOLERANCE, proven=True)
    assert found is not None
    assert found.error < 0
    assert found.time == pytest.approx(EPOCH / 1000 + 60, abs=40)
    assert part.trust.disordered, "others like it are not seen by lookups"


def test_a_record_with_another_unit_and_distant_neighbours_has_no_age() -> None:
    stamps = [EPOCH, in_seconds(EPOCH), EPOCH + 12 * HOUR]
    part, broker = proven(), Broker(stamps)
    at_ms = EPOCH + 13 * HOUR
    part.observe(0, 3, points({1}))
    part.add_read((1, False), ReadRecord(None, 1, 3))
    poll(part, broker, {1}, at_ms)
    assert part.estimate((1, False), at_ms, TOLERANCE, proven=True) is None


def test_each_implausible_timestamp_of_a_lookup_is_reported_once() -> None:
    part = PartitionTimes("t", 0)
    part.observe(0, 100, points({50}))
    seconds = in_seconds(EPOCH)
    assert [part.add_answer(0, 0, seconds) for _ in range(2)] == [True, False]
    part.add_read((7, False), ReadRecord(None, 7, 100))
    assert not part.add_answer(EPOCH, 7, in_nanoseconds(EPOCH)), "it was told when it was read"
    assert part.index.is_implausible(0)


def test_a_topic_out_of_order_has_no_error_bounds_in_any_partition() -> None:
    part, broker = proven(), Broker(EPOCH + i * SECOND for i in range(100))
    poll(part, broker, [50], EPOCH + HOUR)
    found = part.estimate((50, False), EPOCH + HOUR, TOLERANCE, proven=False)
    assert found is not None
    assert found.error < 0


# Any log


@given(
    st.lists(st.integers(EPOCH, EPOCH + 10 * DAY), min_size=1, max_size=60),
    st.data(),
)
def test_the_upper_bound_is_true_in_any_order_of_timestamps(
    stamps: list[int], data: st.DataObject
) -> None:
    offsets = data.draw(st.sets(st.integers(0, len(stamps) - 1), min_size=1, max_size=20))
    at_ms = max(stamps) + data.draw(since)
    part, broker = PartitionTimes("t", 0), Broker(stamps)
    poll(part, broker, offsets, at_ms)
    for offset in range(len(stamps)):
        bracket = part.index.bracket(offset)
        assert bracket.below is None or stamps[offset] < bracket.below
        if bracket.exact:
            assert bracket.low == stamps[offset]


@given(
    st.lists(st.integers(EPOCH, EPOCH + 10 * DAY), min_size=2, max_size=60),
    st.data(),
)
def test_a_record_that_contradicts_the_index_ends_the_trust(
    stamps: list[int], data: st.DataObject
) -> None:
    running = list(accumulate(stamps, max))
    late = [o for o, stamp in enumerate(stamps) if stamp < running[o] - DISORDER_MS]
    assume(late)
    offset = data.draw(st.sampled_from(late))
    at_ms = max(stamps) + HOUR
    part, broker = proven(), Broker(stamps)
    # The neighbours in order bracket it: the running maximum is before it.
    poll(part, broker, {*range(len(stamps))}, at_ms)
    low = part.index.bracket(offset).low
    assume(low is not None and stamps[offset] < low - DISORDER_MS)
    known_before = part.trust.disordered
    read_at(part, broker, offset)
    assert (known_before, part.trust.disordered) == (False, True)
    found = part.estimate((offset, False), at_ms, TOLERANCE, proven=False)
    assert found is not None
    assert (found.time, found.error) == (stamps[offset] / 1000, 0.0)


def test_disorder_ends_when_its_records_are_deleted() -> None:
    stamps = [EPOCH + i * SECOND for i in range(100)]
    stamps[40] -= HOUR
    stamps[60] -= HOUR
    part, broker = proven(), Broker(stamps)
    for start, disordered in ((0, True), (41, True), (60, True), (61, False)):
        broker.start = start
        poll(part, broker, [max(60, start), max(40, start), 80], EPOCH + HOUR)
        if start == 0:
            read_at(part, broker, 60)
            read_at(part, broker, 40)
        assert part.trust.disordered is disordered, start


def test_records_out_of_order_within_the_tolerated_disorder_count_as_ordered() -> None:
    stamps = [EPOCH + i * 10 for i in range(100)]
    stamps[50] -= DISORDER_MS
    part, broker = PartitionTimes("t", 0), Broker(stamps)
    poll(part, broker, [50, 70], EPOCH + 5 * SECOND, read=2)
    assert (part.trust.disordered, part.trust.everywhere) == (False, True)


# The cost


def most_lookups(stamps: Sequence[int], offsets: Sequence[int], at_ms: int) -> float:
    part, broker = proven(), Broker(stamps)
    poll(part, broker, offsets, at_ms)
    assert_within_tolerance(part, at_ms)
    return broker.asked / len(offsets)


def test_a_steady_producer_costs_a_few_lookups_per_position() -> None:
    hour = [EPOCH + i * SECOND for i in range(3600)]
    at_ms = hour[-1]
    assert most_lookups(hour, [1800], at_ms) <= 4
    assert most_lookups(hour, range(0, 3600, 200), at_ms) <= 3
    assert most_lookups(hour, range(0, 3600, 3), at_ms) <= 0.5


def test_a_replay_of_a_week_costs_a_few_more_lookups() -> None:
    week = [EPOCH + i * 7 * DAY // 5000 for i in range(5000)]
    assert most_lookups(week, range(0, 5000, 250), week[-1] + DAY) <= 3


@given(gaps, st.integers(0, 59))
def test_no_log_costs_many_lookups_per_position(found: list[int], offset: int) -> None:
    stamps = [EPOCH + sum_ for sum_ in accumulate(found)]
    part, broker = proven(), Broker(stamps)
    poll(part, broker, [min(offset, len(stamps) - 1)], stamps[-1] + DAY)
    assert broker.asked <= 20


def test_known_times_are_not_looked_up_again() -> None:
    part, broker = proven(), Broker(EPOCH + i * SECOND for i in range(3600))
    at_ms = EPOCH + 2 * HOUR
    poll(part, broker, [7, 1000, 3599], at_ms)
    poll(part, broker, [7, 1000, 3599], at_ms)  # adds the tail to the index
    known = broker.asked
    for later in range(10):
        assert poll(part, broker, [7, 1000, 3599], at_ms + later * 10 * SECOND) == 0
    assert broker.asked == known


@pytest.mark.parametrize("lag", [1, 5, 300, 2000])
def test_a_moving_reader_costs_about_two_lookups_per_poll(lag: int) -> None:
    """Ten records a second, at a distance of 0.1 s to some minutes from the end."""
    part, broker = proven(), Broker(EPOCH + i * 100 for i in range(6000))
    poll(part, broker, [broker.end - lag], broker.log[-1] + 50)
    before = broker.asked
    for _ in range(20):
        broker.log += [broker.log[-1] + (i + 1) * 100 for i in range(100)]
        at_ms = broker.log[-1] + 50
        poll(part, broker, [broker.end - lag, broker.end - lag - 1], at_ms)
        assert_within_tolerance(part, at_ms)
        assert_within_bounds(part, broker, at_ms, proven=True)
    assert broker.asked - before <= 3 * 20


def test_the_end_of_the_log_is_known_before_a_reader_falls_behind() -> None:
    """Each poll looks up the last second once, if there are new records."""
    part, broker = proven(), Broker([EPOCH])
    for second in range(1, 120):
        broker.log += [EPOCH + second * SECOND + i * 10 for i in range(100)]
        poll(part, broker, [broker.end - 1], broker.log[-1] + 5)
    before = broker.asked
    poll(part, broker, range(0, broker.end, 100), broker.log[-1] + 5)
    assert broker.asked - before <= 3
    assert_within_tolerance(part, broker.log[-1] + 5)


def test_the_end_of_an_idle_log_is_not_looked_up() -> None:
    part, broker = proven(), Broker([EPOCH, EPOCH + HOUR])
    for _ in range(2):
        poll(part, broker, [0], EPOCH + 2 * HOUR)
    part.observe(0, 2, points([0]))
    assert part.feed(EPOCH + 3 * HOUR, TOLERANCE) == []


def test_pairs_of_deleted_records_still_bound_the_remaining_ones() -> None:
    part, broker = proven(), Broker(EPOCH + i * SECOND for i in range(3600))
    offsets = [2000, 3000]
    for _ in range(2):
        poll(part, broker, offsets, EPOCH + 2 * HOUR)
    before = broker.asked
    broker.start = 1999
    poll(part, broker, offsets, EPOCH + 2 * HOUR)
    assert_within_tolerance(part, EPOCH + 2 * HOUR)
    assert broker.asked == before


def test_records_after_an_old_end_were_not_known_then() -> None:
    part, broker = proven(), Broker([EPOCH])
    poll(part, broker, [0], EPOCH + 2 * SECOND)
    poll(part, broker, [0], EPOCH + 2 * SECOND)
    broker.log.append(EPOCH + HOUR)
    at_ms = EPOCH + HOUR + 10 * SECOND
    poll(part, broker, [1], at_ms)
    assert_within_tolerance(part, at_ms)
    assert_within_bounds(part, broker, at_ms, proven=True)


def test_a_truncated_log_is_a_new_one_even_if_it_has_grown_again() -> None:
    old = [EPOCH + i * SECOND for i in range(10)]
    part, broker = proven(), Broker(old)
    poll(part, broker, [2, 9], EPOCH + HOUR, read=2)
    broker.log = old[:8]
    poll(part, broker, [2], EPOCH + HOUR)
    assert not part.trust.everywhere
    broker.log += [EPOCH + 2 * HOUR] * 5
    poll(part, broker, [9], EPOCH + 3 * HOUR)
    part.trust.everywhere = True
    assert_within_bounds(part, broker, EPOCH + 3 * HOUR, proven=True)


# Offsets whose times cannot be known


@pytest.mark.parametrize("offset", [3, 9, 200])
def test_offsets_outside_the_log_are_not_looked_up(offset: int) -> None:
    """Already deleted, or past the end: both happen to the last message of a movement."""
    part, broker = proven(), Broker((EPOCH + i * HOUR for i in range(100)), start=10)
    for _ in range(2):
        poll(part, broker, [offset, 50], EPOCH + 10 * DAY)
    assert part.unread() == [(50, False)]
    assert broker.asked <= 6
    assert poll(part, broker, [offset, 50], EPOCH + 10 * DAY) == 0
    assert part.estimate((3, False), EPOCH + 10 * DAY, TOLERANCE, proven=True) is None


def test_the_first_remaining_record_counts_if_earlier_ones_are_gone() -> None:
    """As in a compacted log, whose start does not move."""
    part = proven()
    part.observe(0, 100, points([40]))
    for _ in range(3):
        for question in part.questions(EPOCH + DAY, TOLERANCE):
            left = question <= EPOCH + 60_000
            part.add_answer(question, 60 if left else -1, EPOCH + 60_000 if left else -1)
    assert part.questions(EPOCH + DAY, TOLERANCE) == []
    found = part.estimate((40, False), EPOCH + DAY, TOLERANCE, proven=True)
    assert found is not None
    assert (found.time, found.error) == (EPOCH / 1000 + 60, 0.0)


def test_a_broker_without_lookups_is_asked_once() -> None:
    part = PartitionTimes("t", 0)
    part.observe(0, 100, points([40]))
    for question in part.questions(EPOCH, TOLERANCE):
        part.add_answer(question, -1, -1)
    assert part.no_lookups
    assert part.questions(EPOCH, TOLERANCE) == []
    assert part.estimate((40, False), EPOCH, TOLERANCE, proven=True) is None


# What only reads can show


def test_a_timestamp_in_the_future_is_counted_and_read() -> None:
    at_ms = EPOCH + HOUR
    part, broker = proven(), Broker([EPOCH, at_ms + DAY, at_ms + DAY])
    poll(part, broker, [0, 2], at_ms)
    assert part.future_offsets(at_ms + SECOND) == {2}
    assert part.doubtful(at_ms) == [(2, False)]
    read_at(part, broker, 2)
    assert part.doubtful(at_ms) == []
    assert part.future_offsets(at_ms + SECOND) == {2}


def test_many_offsets_in_almost_no_time_are_read_first() -> None:
    """That is where old records are replayed after newer ones, at the end or in the middle."""
    ordered = [EPOCH + i * 18 * SECOND for i in range(400)]
    replayed = [EPOCH - DAY + i * SECOND for i in range(100)]
    for stamps in (
        [*ordered[:200], *replayed, *ordered[200:]],
        [*ordered[:200], *replayed],
    ):
        part, broker = PartitionTimes("t", 0), Broker(stamps)
        poll(part, broker, range(0, len(stamps), 7), ordered[-1] + HOUR, read=1)
        assert part.trust.disordered


def test_a_burst_does_not_hide_a_replay() -> None:
    """The burst is denser, the replay is longer: both are read before lookups are trusted."""
    ordered = [EPOCH + i * 18 * SECOND for i in range(400)]
    replayed = [EPOCH - DAY + i * SECOND for i in range(100)]
    burst = [ordered[-1] + HOUR] * 80
    part, broker = (
        PartitionTimes("t", 0),
        Broker([*ordered[:200], *replayed, *ordered[200:], *burst]),
    )
    poll(part, broker, range(0, broker.end, 7), burst[-1] + HOUR, read=2)
    assert part.trust.disordered


def test_the_record_returned_by_a_lookup_does_not_verify_it() -> None:
    part = PartitionTimes("t", 0)
    part.observe(0, 100, points([0, 50, 70, 80]))
    for asked, offset in ((0, 0), (EPOCH + 60, 60), (EPOCH + 80, 80)):
        part.add_answer(asked, offset, EPOCH + offset)
    assert {offset for offset, _ in part.unread_best_first()[:2]} == {70, 50}


def test_lookups_for_a_reader_at_the_end_are_verified_too() -> None:
    part, broker = PartitionTimes("t", 0), Broker(EPOCH + i * 100 for i in range(600))
    poll(part, broker, [596, 597], broker.log[-1] + 50, read=2)
    assert part.trust.everywhere


def test_a_read_of_the_end_is_valid_until_the_end_moves() -> None:
    part = PartitionTimes("t", 0)
    part.observe(0, 10, points([9]))
    part.add_read((9, False), ReadRecord(math.inf, 10, 10))
    found = part.estimate((9, False), EPOCH, TOLERANCE, proven=True)
    assert found is not None
    assert (found.time, found.error) == (math.inf, 0.0)
    assert part.unread() == []
    part.observe(0, 12, points([9]))
    assert part.unread() == [(9, False)]
    assert part.estimate((9, False), EPOCH, TOLERANCE, proven=True) is None


@pytest.mark.parametrize("time", [EPOCH / 1000, None])
def test_a_record_after_the_requested_offset_shows_a_gap(time: float | None) -> None:
    part = PartitionTimes("t", 0)
    part.observe(0, 10, points([4]))
    assert part.add_read((4, False), ReadRecord(time, 6, 10))
    assert not part.add_read((4, False), ReadRecord(time, 4, 10))


def test_no_record_before_the_end_shows_a_gap() -> None:
    """A marker, or records of an aborted transaction."""
    part = PartitionTimes("t", 0)
    part.observe(0, 10, points([9]))
    assert part.add_read((9, False), ReadRecord(math.inf, 10, 10))


# The index alone


@st.composite
def indexes(draw: st.DrawFn) -> tuple[TimeIndex, int]:
    """The answers of lookups in a growing log, and its end."""
    stamps = draw(ordered)
    index = TimeIndex()
    end = 1
    for _ in range(draw(st.integers(1, 12))):
        end = draw(st.integers(end, len(stamps)))
        broker = Broker(stamps[:end])
        near = st.builds(operator.add, st.sampled_from(broker.log[-3:]), st.integers(-1, 1))
        for asked in draw(st.lists(near | st.sampled_from(stamps), min_size=1, max_size=4)):
            offset, stamp = broker.lookup(asked)
            if offset >= 0:
                index.add_answer(asked, offset, stamp)
            else:
                index.add_no_answer(asked, end)
    return index, len(stamps)


@given(indexes(), st.data())
def test_pairs_that_bracket_a_wanted_position_are_never_dropped(
    given_index: tuple[TimeIndex, int], data: st.DataObject
) -> None:
    index, end = given_index
    positions = data.draw(st.lists(st.integers(0, end), max_size=3))
    before = [index.bracket(position) for position in positions]
    newest = index.newest
    index.keep(positions, data.draw(st.integers(1, 8)))
    assert [index.bracket(position) for position in positions] == before
    assert index.newest == newest


def test_dropping_pairs_keeps_the_last_record_before_an_old_end() -> None:
    index = TimeIndex()
    for offset in range(10):
        index.add_answer(EPOCH + offset * 10, offset, EPOCH + offset * 10)
    index.add_no_answer(EPOCH + 95, 10)
    index.add_answer(EPOCH + 150, 15, EPOCH + 150)
    before = index.bracket(12)
    index.keep([12], 1)
    assert len(index) < 12
    assert index.bracket(12) == before
    assert (before.low, before.below) == (EPOCH + 90, EPOCH + 150)


def test_the_size_of_an_index_is_limited() -> None:
    part, broker = proven(), Broker([EPOCH])
    for second in range(1, 3 * ENTRIES):
        broker.log.append(EPOCH + second * 10 * SECOND)
        poll(part, broker, [broker.end - 1], broker.log[-1] + 5)
    assert len(part.index) <= ENTRIES + 4


@given(indexes())
def test_an_index_is_in_order(given_index: tuple[TimeIndex, int]) -> None:
    index, end = given_index
    below = [bracket.below for p in range(end) if (bracket := index.bracket(p)).below is not None]
    lows = [bracket.low for p in range(end) if (bracket := index.bracket(p)).low is not None]
    assert all(a <= b for a, b in pairwise(below))
    assert all(a <= b for a, b in pairwise(lows))


def test_new_answers_replace_contradicting_old_ones() -> None:
    index = TimeIndex()
    index.add_answer(100, 5, 120)
    index.add_answer(200, 8, 210)
    index.add_no_answer(300, 12)
    index.add_answer(50, 9, 400)
    assert len(index) == 1
    assert (index.bracket(8).below, index.bracket(9).low, index.bracket(11).below) == (
        50,
        400,
        None,
    )


# Sequences of polls


class Polls(RuleBasedStateMachine):
    """Records come and go, groups move, logs are truncated: all returned times are true."""

    def __init__(self) -> None:
        super().__init__()
        self.part = proven()
        self.broker = Broker([])
        self.offsets: set[int] = set()
        self.now = EPOCH

    @initialize(found=gaps)
    def begin(self, found: list[int]) -> None:
        self.produce(found)

    @rule(found=gaps)
    def produce(self, found: list[int]) -> None:
        stamps = [self.now + sum_ for sum_ in accumulate(found)]
        self.broker.log += stamps
        self.now = stamps[-1]

    @rule(found=gaps)
    def produce_together(self, found: list[int]) -> None:
        """All with the same timestamp, as in a burst."""
        self.broker.log += [self.now] * len(found)

    @rule(seconds=st.integers(1, 100_000))
    def wait(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule(part=st.floats(0, 1))
    def delete(self, part: float) -> None:
        broker = self.broker
        broker.start = max(broker.start, int(broker.end * part))

    @rule(part=st.floats(0, 0.9))
    def truncate(self, part: float) -> None:
        """By an unclean election; the poll notices it, because the log is shorter than before."""
        broker = self.broker
        broker.log = broker.log[: max(int(broker.end * part), broker.start)]
        self.poll()

    @rule(parts=st.lists(st.floats(0, 0.999), max_size=6))
    def move(self, parts: list[float]) -> None:
        broker = self.broker
        size = broker.end - broker.start
        self.offsets = {broker.start + int(size * part) for part in parts} if size else set()

    @rule()
    def move_to_the_end_of_the_last_poll(self) -> None:
        """Like a reader that had nothing left to read."""
        if self.part.end < self.broker.end:
            self.offsets = {self.part.end}

    @rule(read=st.integers(0, 3))
    def poll(self, read: int = 0) -> None:
        broker = self.broker
        self.offsets = {max(offset, broker.start) for offset in self.offsets}
        self.offsets = {offset for offset in self.offsets if offset < broker.end}
        rounds = poll(self.part, broker, self.offsets, self.now, read=read)
        assert rounds < ROUNDS
        self.part.trust.everywhere = True
        assert_within_tolerance(self.part, self.now)

    @invariant()
    def everything_claimed_is_true(self) -> None:
        if self.part.end == self.broker.end:
            known = {p for p in self.part.wanted if p[0] >= self.broker.start}
            self.part.want(known)
            assert_within_bounds(self.part, self.broker, self.now, proven=True)


TestPolls = Polls.TestCase
TestPolls.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_a_read_in_a_compacted_topic_is_valid_for_one_poll() -> None:
    """Compaction may delete the record; then a newer one is the oldest."""
    part, broker = PartitionTimes("t", 0), Broker(EPOCH + i * MINUTE for i in range(10))
    part.compacted = True
    part.observe(broker.start, broker.end, points([3]))
    part.add_read((3, False), ReadRecord(EPOCH / 1000, 3, broker.end, part.polls))
    assert part.unread() == []
    part.observe(broker.start, broker.end, points([3]))
    assert part.unread() == [(3, False)]
    assert part.estimate((3, False), EPOCH + HOUR, TOLERANCE, proven=False) is None
