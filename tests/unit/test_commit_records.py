"""Records of `__consumer_offsets`, and the choice of who to read committed offsets from."""

from __future__ import annotations

import struct

import pytest

from exporter.collectors.kafka.commit_stream.choice import Load, is_worth_it
from exporter.collectors.kafka.commit_stream.generations import GenerationTable
from exporter.collectors.kafka.commit_stream.reader import CommitReader
from exporter.collectors.kafka.commit_stream.records import (
    CommitKey,
    Generation,
    MalformedRecordError,
    commit_key,
    commit_time,
    generation,
    group_key,
    has_generation,
    partition_of,
)
from exporter.collectors.kafka.commit_stream.table import CommitTable, GroupOffsets
from exporter.collectors.kafka.log_offsets import lagging
from exporter.collectors.kafka.raw.codec import varint
from exporter.model import CommitSpan, Generations, Log, Positions


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack(">h", len(data)) + data


def key(version: int, group: str = "billing", topic: str = "orders", partition: int = 7) -> bytes:
    return struct.pack(">h", version) + text(group) + text(topic) + struct.pack(">i", partition)


@pytest.mark.parametrize("version", [0, 1])
def test_the_key_of_a_commit(version: int) -> None:
    assert commit_key(key(version)) == CommitKey("billing", "orders", 7)
    assert commit_key(key(version, "größe 🙂", "")) == CommitKey("größe 🙂", "", 7)


@pytest.mark.parametrize("version", [2, 3, 8, 500])
def test_records_of_groups_and_members_are_no_commits(version: int) -> None:
    assert commit_key(struct.pack(">h", version) + text("billing")) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\0\1",
        b"\0\1\xff\xff",
        b"\0\1\0\5ab",
        key(1)[:-1],
        key(1) + b"\0",
        struct.pack(">hh", 1, 2) + b"\xff\xfe" + text("t") + bytes(4),
    ],
)
def test_a_malformed_key_is_an_error_of_its_own(data: bytes) -> None:
    with pytest.raises(MalformedRecordError):
        commit_key(data)


@pytest.mark.parametrize(
    ("group", "hashed"),
    [("", 0), ("hello", 99_162_322), ("polygenelubricants", 0), ("🙂", 1_772_965)],
)
def test_the_partition_of_a_group_is_that_of_java(group: str, hashed: int) -> None:
    """The hash of the third one is -2147483648, which has no absolute value in Java."""
    assert partition_of(group, 50) == hashed % 50


class Record:
    """A message of the consumer."""

    def __init__(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        self._offset, self._key, self._value = offset, key, value

    def error(self) -> None:
        return None

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value


def commit_value(version: int, offset: int) -> bytes:
    return struct.pack(">hq", version, offset) + bytes(16)


def timed_value(version: int, milliseconds: int, metadata: str = "of a client") -> bytes:
    words = metadata.encode()
    head = struct.pack(">hq", version, 5) + (struct.pack(">i", 7) if version >= 3 else b"")
    size = varint(len(words) + 1) if version >= 4 else struct.pack(">h", len(words))
    expiry = struct.pack(">q", 9) if version == 1 else b""
    return head + size + words + struct.pack(">q", milliseconds) + expiry + b"\0" * (version >= 4)


@pytest.mark.parametrize("version", range(5))
@pytest.mark.parametrize("metadata", ["", "of a client", "x" * 300])
def test_the_time_of_a_commit(version: int, metadata: str) -> None:
    value = timed_value(version, 1_790_000_000_123, metadata)
    assert commit_time(value) == 1_790_000_000.123
    assert commit_time(value[:-10]) is None
    assert commit_time(timed_value(version, -1)) is None


@pytest.fixture
def group() -> GroupOffsets:
    group = GroupOffsets("billing", 0)
    group.load({}, (0, 0))
    return group


def read(
    group: GroupOffsets,
    *records: tuple[bytes | None, bytes | None],
    again: list[str] | None = None,
) -> CommitReader:
    """Return a reader that has read these records. `again` gets the groups that have changed."""
    again = [] if again is None else again
    table = CommitTable()
    table.groups = {group.name: group}
    reader = CommitReader(
        lambda: {"bootstrap.servers": "127.0.0.1:1", "log_level": 0},
        table,
        {"orders": True, "hidden": False},
        again.extend,
    )
    reader._apply([Record(number, *each) for number, each in enumerate(records)])  # type: ignore[misc]
    reader.close()
    return reader


def test_commits_of_every_known_version(group: GroupOffsets) -> None:
    reader = read(group, *((key(1, partition=v), commit_value(v, 10 + v)) for v in range(5)))
    assert group.positions().offsets == {"orders": {v: 10 + v for v in range(5)}}
    assert (reader.unknown_records, reader.position) == (0, {0: 5})


def test_tombstones_other_groups_and_hidden_topics(group: GroupOffsets) -> None:
    read(
        group,
        (key(1), commit_value(3, 1)),
        (key(1, partition=8), commit_value(3, 2)),
        (key(1), None),
        (key(1, "other"), commit_value(3, 3)),
        (key(1, topic="hidden"), commit_value(3, 4)),
        (struct.pack(">h", 2) + text("billing"), b"members"),
    )
    assert group.positions().offsets == {"orders": {8: 2}}


@pytest.mark.parametrize("value", [b"", b"\0", commit_value(5, 1), b"\1" + commit_value(3, 1)[1:]])
def test_a_value_that_nobody_knows_makes_the_group_unknown(
    group: GroupOffsets, value: bytes
) -> None:
    assert read(group, (key(1), value)).unknown_records == 1
    assert group.loaded is None


@pytest.mark.parametrize("data", [None, b"", b"\0\1garbage"])
def test_a_key_that_nobody_can_read_is_counted(group: GroupOffsets, data: bytes | None) -> None:
    """It may belong to any group of the partition."""
    reader = read(group, (data, commit_value(3, 1)))
    assert (reader.unknown_records, reader.lost) == (1, {0})


def test_a_record_in_another_partition_than_the_group_s(group: GroupOffsets) -> None:
    group.partition = 1
    read(group, (key(1), commit_value(3, 1)))
    assert group.loaded is None


def test_a_coordinator_that_answers_before_it_knows_a_record_does_not_undo_it() -> None:
    group = GroupOffsets("billing", 0)
    group.commit("orders", 0, 7)
    group.remove("orders", 1)
    group.load({"orders": {0: 5, 1: 6, 2: 8}}, (0, 0))
    assert group.positions().offsets == {"orders": {0: 7, 2: 8}}
    group.load({"orders": {0: 9}}, (0, 1))
    assert group.positions().offsets == {"orders": {0: 9}}, "what was returned is not kept"


def test_offsets_of_a_group() -> None:
    group = GroupOffsets("billing", 3)
    group.load({"orders": {0: 5, 1: 6}}, (0, 1))
    first = group.positions()
    assert first.offsets == {"orders": {0: 5, 1: 6}}
    group.commit("orders", 0, 5)
    assert group.positions() is first, "nothing has changed"
    assert group.commits == 1, "but the group is alive"
    group.commit("orders", 0, 9)
    group.commit("audit", 0, 1)
    group.remove("orders", 1)
    group.commit("audit", 0, -1)
    assert group.positions().offsets == {"orders": {0: 9}}
    assert first.offsets == {"orders": {0: 5, 1: 6}}, "what was handed out stays as it was"
    assert group.is_like({"orders": {0: 9}, "gone": {0: 1}}, {"orders"})
    assert not group.is_like({"orders": {0: 8}}, {"orders"})


@pytest.mark.parametrize(
    ("load", "before", "worth"),
    [
        (Load(10, 100, 0, 0.02), False, False),
        (Load(10_000, 40_000, 20_000, 0.02), False, True),
        (Load(10_000, 40_000, 400_000, 0.02), False, False),
        (Load(10_000, 40_000, 400_000, 0.02), True, True),
        (Load(10_000, 40_000, 2_000_000, 0.02), True, False),
        (Load(200, 50_000, 5_000, 0.02), False, True),
        (Load(200, 50_000, float("inf"), 0.02), False, False),
    ],
)
def test_the_cheaper_way_is_chosen_and_kept(load: Load, *, before: bool, worth: bool) -> None:
    assert is_worth_it(load, following=before) is worth


def test_a_record_before_a_missed_one_does_not_undo_what_the_coordinator_returns() -> None:
    table = CommitTable()
    group = table.group("billing", 1)
    table.load(group, {"orders": {0: 3}}, 1)
    group.commit("orders", 0, 7)  # then 8 is missed
    table.missed({0})
    group.commit("orders", 1, 2)  # after the missed one
    assert not table.is_loaded(group, 3)
    table.load(group, {"orders": {0: 8}}, 3)
    assert group.positions().offsets == {"orders": {0: 8, 1: 2}}
    assert table.is_loaded(group, 4)


def test_a_record_before_an_unknown_one_does_not_undo_what_the_coordinator_returns(
    group: GroupOffsets,
) -> None:
    read(group, (key(1), commit_value(3, 5)), (key(1), commit_value(9, 6)))
    group.load({"orders": {7: 6}}, (0, 1))
    assert group.positions().offsets == {"orders": {7: 6}}


def stamped(offset: int, seconds: float) -> bytes:
    return struct.pack(">hqih", 3, offset, 0, 0) + struct.pack(">q", round(seconds * 1000))


def test_the_times_of_the_commits_of_a_subscription(group: GroupOffsets) -> None:
    """Of all its partitions together. Commits that repeat an offset move nothing."""
    reader = read(
        group,
        (key(1), stamped(5, 100.0)),
        (key(1, partition=8), stamped(1, 100.0)),
        (key(1), stamped(5, 103.0)),
        (key(1), stamped(6, 104.5)),
        (key(1, partition=8), stamped(2, 106.0)),
    )
    spans = reader.moves.take_spans()
    assert spans == {("billing", "orders"): CommitSpan(100.0, 106.0, 4.5)}
    assert reader.moves.take_spans() == {}


def test_which_offsets_were_committed_again(group: GroupOffsets) -> None:
    reader = read(
        group,
        (key(1), stamped(5, 100.0)),
        (key(1), stamped(5, 101.0)),
        (key(1, partition=8), stamped(1, 101.0)),
        (key(1, partition=9), stamped(-1, 102.0)),
        (key(1, partition=9), stamped(-1, 103.0)),
    )
    assert reader.take_repeated() == {CommitKey("billing", "orders", 7)}
    assert reader.take_repeated() == set()


def test_only_offsets_that_lag_count_as_committed_again() -> None:
    logs = {"orders": Log([0, 0, 0], [9, 9, None], [9, 7, None])}
    positions = {
        name: Positions(name, {"orders": {0: 9, 1: 7, 2: 0}}) for name in ("one", "committed")
    }
    again = [(name, "orders", p) for name in positions for p in range(4)]
    again += [("gone", "orders", 0), ("one", "gone", 0)]
    assert lagging(again, positions, logs, {"committed"}) == {("one", "orders"): [1]}
    assert lagging(again[:1], positions, logs, ()) == {}


def metadata_key(version: int, group: str = "billing") -> bytes:
    return struct.pack(">h", version) + text(group)


def metadata(version: int, number: int, members: int = 2) -> bytes:
    """A classic group's value, up to the number of its members."""
    is_compact = version >= 4
    word = (lambda w: varint(len(w) + 1) + w.encode()) if is_compact else text
    null = b"\0" if is_compact else b"\xff\xff"
    words = word("consumer") + struct.pack(">i", number) + word("range") + null
    time = struct.pack(">q", 1) if version >= 2 else b""
    count = varint(members + 1) if is_compact else struct.pack(">i", members)
    return struct.pack(">h", version) + words + time + count


@pytest.mark.parametrize("version", range(5))
def test_the_generation_of_a_classic_group(version: int) -> None:
    assert group_key(metadata_key(2)) == "billing"
    found = generation(metadata_key(2), metadata(version, 7))
    assert found == Generation(7, is_empty=False)
    emptied = generation(metadata_key(2), metadata(version, 8, 0))
    assert emptied == Generation(8, is_empty=True)
    with pytest.raises(MalformedRecordError):
        generation(metadata_key(2), metadata(version, 8)[:-1])


def test_the_epoch_of_a_group_of_the_consumer_protocol() -> None:
    assert group_key(metadata_key(3)) == "billing"
    value = struct.pack(">hi", 0, 12) + b"\0"
    assert generation(metadata_key(3), value) == Generation(12, is_empty=False)


@pytest.mark.parametrize("key", [b"", b"\0\2", key(1), b"\0\2\0\5ab"])
def test_records_that_are_not_about_a_group(key: bytes) -> None:
    assert group_key(key) is None


@pytest.mark.parametrize("version", [2, 3, 4, 5, 8, 300])
def test_every_record_about_a_group_says_that_it_has_changed(
    group: GroupOffsets, version: int
) -> None:
    """Members and assignments have records of their own; their keys go on after the group."""
    again: list[str] = []
    more = text("member-1") if version > 4 else b""
    read(group, (metadata_key(version) + more, None), (metadata_key(3, "other"), None), again=again)
    assert again == ["billing"]
    read(group, (key(1), stamped(5, 1.0)), again=again)
    assert again == ["billing"]
    assert has_generation(metadata_key(version)) is (version <= 3)


@pytest.mark.parametrize(("kind", "value"), [(2, metadata(5, 1)), (3, struct.pack(">hi", 1, 1))])
def test_the_generation_of_an_unknown_version_is_unknown(
    group: GroupOffsets, kind: int, value: bytes
) -> None:
    reader = read(group, (metadata_key(kind), value))
    assert reader.generations.take() == {"billing": None}
    assert reader.unknown_records == 1
    assert group.loaded is not None, "its offsets are known all the same"


def test_the_generations_of_followed_groups(group: GroupOffsets) -> None:
    reader = read(
        group,
        (metadata_key(2), metadata(3, 7)),
        (metadata_key(2), metadata(3, 8, 0)),
        (metadata_key(2), metadata(3, 11)),
        (metadata_key(2, "other"), metadata(3, 5)),
    )
    assert reader.generations.take() == {"billing": Generations(7, False, 11, 3)}
    assert reader.generations.take() == {}


@pytest.mark.parametrize("kind", [2, 3])
def test_the_generation_of_a_group_that_was_deleted_is_unknown(
    group: GroupOffsets, kind: int
) -> None:
    """It may go on as a streams group, whose records have no generation."""
    reader = read(group, (metadata_key(2), metadata(3, 7)), (metadata_key(kind), None))
    assert reader.generations.take() == {"billing": None}


def test_a_group_that_was_deleted_begins_again() -> None:
    table = GenerationTable()
    for number in (7, 8, 1, 2):
        table.add("billing", Generation(number, is_empty=False))
    assert table.take() == {"billing": Generations(7, False, 2, 2)}
