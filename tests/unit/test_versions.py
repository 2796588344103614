"""The table of versions: how cells are judged by the clients' records, written and compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.versions.catalogue import VERSIONS, chosen
from bench.versions.fetching import UnavailableError, _kept, _ran
from bench.versions.judging import PROPERTIES, Cell, Verdict, judge
from bench.versions.records import Records
from bench.versions.samples import Limits, Names, Probes, Sample, Watched
from bench.versions.table import BEGIN, Row, read, unmeasured, worse, write
from testbed.exporter import Scrape

START = 1_000.0
COUNT, RATE, DELAY = 600, 10.0, 4.0
"""Number of messages, how many arrive per second, and how long each of them waits."""
STOP = START + COUNT / RATE
LEFT = int(RATE * DELAY)
"""Messages that wait when no more arrive; they are processed only at the end."""
END = STOP + 60.0
NOTHING = Sample(
    at=START,
    read_at=START,
    aged_at=START,
    lag=0.0,
    age=0.0,
    consumers=2.0,
    produced=0.0,
    consumed=0.0,
    produced_rate=None,
    consumed_rate=None,
)


def records() -> Records:
    sent = [START + (number + 0.5) / RATE for number in range(COUNT)]
    done = [at + DELAY if at + DELAY < STOP else END - 1 for at in sent]
    return Records(tuple(zip(sent, done, strict=True)))


def true_sample(at: float, consumers: int = 2) -> Sample:
    """The samples of an exporter without errors."""
    known = records()
    sent, done = known.sent(START, at), known.done(START, at)
    return Sample(
        at=at,
        read_at=at,
        aged_at=at,
        lag=float(known.lag(at)),
        age=known.age(at),
        consumers=float(consumers),
        produced=float(sent),
        consumed=float(done),
        produced_rate=sent / (at - START),
        consumed_rate=done / (at - START),
    )


def watched() -> Watched:
    return Watched(
        kind="classic",
        records=records(),
        before=NOTHING,
        since={"produced": START, "consumed": START},
        load=[true_sample(START + second) for second in range(5, 60)],
        rest=true_sample(STOP + 10),
        end=true_sample(END, consumers=1),
        consumers=2,
        consumers_at_end=1,
        probes=Probes(
            success=(1.0,), sent=20, received=20, bad=0, mean_seconds=0.002, seconds=120.0
        ),
        limits=Limits(lag=0, mean_age=1.0, age=2.0, rate=0.03),
    )


def wrong(seen: Watched) -> dict[str, str]:
    """Return the wrong cells."""
    cells = judge(seen)
    return {name: cell.detail for name, cell in cells.items() if cell.verdict is not Verdict.OK}


# The clients' records


def test_records_know_lag_age_and_counts_at_a_moment() -> None:
    known = Records.of([(b"a", 10.0), (b"b", 12.0), (b"c", 14.0)], {b"b": 13.0, b"a": 15.0})
    assert [known.lag(at) for at in (9, 10, 12.5, 13.5, 20)] == [0, 1, 2, 1, 1]
    assert [known.age(at) for at in (9, 11, 14.5, 20)] == [0, 1, 4.5, 6]
    assert known.sent(10, 14) == 2
    assert known.done(13, 15) == 1


# Judging


def test_an_exporter_without_an_error_has_no_wrong_cell() -> None:
    assert {name: cell.verdict for name, cell in judge(watched()).items()} == dict.fromkeys(
        PROPERTIES, Verdict.OK
    )


@pytest.mark.parametrize("when", ["rest", "end"])
@pytest.mark.parametrize(
    ("field", "off", "cell"),
    [
        ("lag", 1.0, "lag"),
        ("lag", None, "lag"),
        ("age", 5.0, "age"),
        ("age", None, "age"),
        ("consumers", 1.0, "consumers"),
        ("consumers", None, "consumers"),
        ("produced", 30.0, "rates"),
        ("produced", None, "rates"),
        ("consumed", -30.0, "rates"),
    ],
)
def test_a_number_that_is_off_at_rest_makes_its_own_cell_wrong(
    when: str, field: str, off: float | None, cell: str
) -> None:
    seen = watched()
    sample: Sample = getattr(seen, when)
    value = None if off is None else getattr(sample, field) + off
    changed = replace(seen, **{when: replace(sample, **{field: value})})  # type: ignore[arg-type]
    assert list(wrong(changed)) == [cell]
    assert "instead of" in wrong(changed)[cell]


def test_an_age_that_is_off_on_average_is_wrong_and_a_single_one_is_not() -> None:
    seen = watched()
    one = [
        replace(sample, age=(sample.age or 0) + 20 * (number == 30))
        for number, sample in enumerate(seen.load)
    ]
    assert not wrong(replace(seen, load=one))
    all_of_them = [replace(sample, age=(sample.age or 0) + 1.5) for sample in seen.load]
    assert wrong(replace(seen, load=all_of_them)) == {"age": "1.5 s instead of at most 1 s"}


def test_an_age_is_held_against_the_moment_at_which_the_broker_was_read() -> None:
    seen = watched()
    late = [replace(sample, at=sample.at + 9) for sample in seen.load]
    assert not wrong(replace(seen, load=late))


def test_an_age_that_is_mostly_absent_is_wrong() -> None:
    seen = watched()
    absent = [
        replace(sample, age=None if number % 4 else sample.age)
        for number, sample in enumerate(seen.load)
    ]
    assert wrong(replace(seen, load=absent)) == {"age": "absent in 36 of 48 polls"}


def test_rates_are_of_the_time_since_which_there_were_counters() -> None:
    seen = watched()
    last = seen.load[-1]
    late = replace(seen, since={"produced": START - 30, "consumed": START})
    assert list(wrong(late)) == ["rates"]
    assert last.produced_rate is not None
    slow = replace(last, produced_rate=last.produced_rate * 0.9)
    assert wrong(replace(seen, load=[*seen.load, slow])) == {
        "rates": "9.0 produced per second instead of 10.0"
    }
    none = replace(last, consumed_rate=None)
    assert wrong(replace(seen, load=[*seen.load, none])) == {
        "rates": "no rate of consumed messages"
    }


def test_consumers_are_compared_under_load_too() -> None:
    seen = watched()
    last = replace(seen.load[-1], consumers=1.0)
    assert wrong(replace(seen, load=[*seen.load, last])) == {
        "consumers": "1 under load instead of 2"
    }


def test_what_is_on_its_way_to_a_reader_of_a_stream_may_be_missing_from_its_lag() -> None:
    seen = replace(watched(), limits=Limits(lag=3, mean_age=1.0, age=2.0, rate=0.03))
    near = replace(seen, rest=replace(seen.rest, lag=(seen.rest.lag or 0) - 3))
    assert not wrong(near)
    far = replace(seen, rest=replace(seen.rest, lag=(seen.rest.lag or 0) - 4))
    assert wrong(far) == {"lag": f"{LEFT - 4} at rest instead of {LEFT}"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"success": ()}, "no probe came back"),
        ({"success": (1.0, 0.0)}, "0 of 20 lost or failed"),
        ({"bad": 2.0}, "2 of 20 lost or failed"),
        ({"received": 3.0}, "3 in 120 s"),
        ({"mean_seconds": 2.5}, "2500.0 ms instead of at most 1000 ms"),
        ({"mean_seconds": None}, "no probe came back"),
    ],
)
def test_a_probe_is_wrong_where_one_is_missing_lost_or_slow(
    changed: dict[str, object], said: str
) -> None:
    seen = watched()
    probes = replace(seen.probes, **changed)  # type: ignore[arg-type]
    assert wrong(replace(seen, probes=probes)) == {"probe": said}


# Reading a scrape


def test_a_look_adds_up_partitions_and_takes_the_largest_age() -> None:
    page = Scrape(
        """\
mq_lag_messages{source="test",destination="t",group="g",partition="0"} 3
mq_lag_messages{source="test",destination="t",group="g",partition="1"} 4
mq_lag_messages{source="test",destination="t",group="other",partition="1"} 50
mq_lag_seconds{source="test",destination="t",group="g",partition="0"} 2.5
mq_lag_seconds{source="test",destination="t",group="g",partition="1"} 1.5
mq_consumers{source="test",destination="t",group="g"} 2
mq_produced_messages_total{source="test",destination="t",partition="0"} 10
mq_produced_messages_total{source="test",destination="t",partition="1"} 11
mq_collect_last_success_timestamp_seconds{source="test",task="backlog"} 100
mq_collect_last_success_timestamp_seconds{source="test",task="latency"} 101
""",
        text=True,
    )
    sample = Names({"destination": "t", "group": "g"}, "latency").sample(page, 105.0)
    assert (sample.at, sample.read_at, sample.aged_at) == (105, 100, 101)
    assert (sample.lag, sample.age, sample.consumers, sample.produced) == (7, 2.5, 2, 21)
    assert (sample.consumed, sample.produced_rate, sample.consumed_rate) == (None, None, None)


# The document

BY_NAME = {version.name: version for version in VERSIONS}
GOOD = {name: Cell(Verdict.OK, "1.0 s" if name == "age" else "") for name in PROPERTIES}


def row(name: str = "kafka-4.0", kind: str = "classic", **cells: Cell) -> Row:
    return Row(name, kind, "4.0.2", {**GOOD, **cells}, "2026-11-28")


def test_what_is_written_is_read_again() -> None:
    rows = [
        row(),
        row("rabbitmq-4.0", "quorum", lag=Cell(Verdict.WRONG, "3 at rest instead of 4")),
        unmeasured(
            BY_NAME["rabbitmq-3.8"], "stream", Verdict.UNSUPPORTED, "no streams", "2026-11-28"
        ),
        unmeasured(
            BY_NAME["nsq-master"], "channel", Verdict.MISSING, "go: not found", "2026-11-28"
        ),
    ]
    document = write("# Title\n\nText.\n\n", rows, "2026-11-28", "0.1.0")
    assert document.startswith("# Title\n\nText.\n\n" + BEGIN)
    assert "Last run: 2026-11-28, mq-lag-exporter 0.1.0." in document
    assert read(document) == {each.key: each for each in rows}
    assert write(document, read(document).values(), "2026-11-28", "0.1.0") == document


def test_rows_are_in_the_order_of_the_catalogue_and_unknown_ones_go() -> None:
    rows = [
        row("kafka-9.9"),
        row("kafka-4.2"),
        row("kafka-4.0", "consumer"),
        row(),
        row("nsq-1.3", "channel"),
    ]
    assert list(read(write("", rows, "2026-11-28", "0.1.0"))) == [
        ("kafka-4.0", "classic"),
        ("kafka-4.0", "consumer"),
        ("kafka-4.2", "classic"),
        ("nsq-1.3", "channel"),
    ]


def test_a_document_without_a_generated_part_has_no_rows() -> None:
    assert read("# Title\n\n| release | a | b |\n| 1 | 2 | 3 |\n") == {}


def test_a_broker_s_own_words_do_not_break_the_table() -> None:
    odd = row(age=Cell(Verdict.WRONG, "a | b\nc"))
    assert read(write("", [odd], "2026-11-28", "0.1.0"))[odd.key].cells["age"] == Cell(
        Verdict.WRONG, "a / b c"
    )


@pytest.mark.parametrize(
    ("was", "now", "is_worse"),
    [
        (Verdict.OK, Verdict.OK, False),
        (Verdict.OK, Verdict.UNSUPPORTED, True),
        (Verdict.OK, Verdict.MISSING, True),
        (Verdict.OK, Verdict.WRONG, True),
        (Verdict.MISSING, Verdict.WRONG, True),
        (Verdict.MISSING, Verdict.OK, False),
        (Verdict.MISSING, Verdict.MISSING, False),
        (Verdict.UNSUPPORTED, Verdict.OK, False),
        (Verdict.WRONG, Verdict.WRONG, False),
        (Verdict.WRONG, Verdict.OK, False),
    ],
)
def test_a_cell_that_got_worse_is_named(was: Verdict, now: Verdict, is_worse: bool) -> None:
    before, after = row(lag=Cell(was)), row(lag=Cell(now, "7 at rest"))
    found = worse({before.key: before}, [after])
    assert bool(found) is is_worse
    for line in found:
        assert line.startswith("kafka-4.0, classic, lag: was ")
        assert line.endswith("7 at rest")


def test_a_figure_that_grew_within_its_limit_is_not_worse() -> None:
    before, after = row(), row(age=Cell(Verdict.OK, "1.4 s"))
    assert worse({before.key: before}, [after]) == []


def test_a_new_row_is_worse_only_where_it_is_wrong() -> None:
    missing = unmeasured(BY_NAME["nsq-master"], "channel", Verdict.MISSING, "no", "2026-11-28")
    assert worse({}, [row(), missing]) == []
    assert worse({}, [row(lag=Cell(Verdict.WRONG, "7 at rest"))]) == [
        "kafka-4.0, classic, lag: **wrong**, 7 at rest"
    ]


# Choosing and fetching


def test_versions_are_chosen_by_name_and_by_system() -> None:
    assert [version.name for version in chosen(["nsq", "rabbitmq-3.8"])] == [
        "rabbitmq-3.8",
        "nsq-1.3",
        "nsq-master",
    ]
    assert chosen([]) == list(VERSIONS)
    with pytest.raises(
        ValueError, match=r"unknown version kafka-1\.0; known versions: kafka, kafka-2\.4"
    ):
        chosen(["kafka-1.0"])


def test_what_is_fetched_is_kept_as_a_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.versions.fetching.CACHE", tmp_path)

    def broken(fresh: Path) -> None:
        (fresh / "half").write_text("")
        _ran(["sh", "-c", "echo something; echo 'no such version' >&2; exit 3"])

    with pytest.raises(UnavailableError, match="sh: something no such version"):
        _kept("kafka-1.0", broken)
    assert list(tmp_path.iterdir()) == []
    calls: list[Path] = []

    def whole(fresh: Path) -> None:
        calls.append(fresh)
        (fresh / "jar").write_text("")

    for _ in range(2):
        folder = _kept("kafka-1.0", whole)
        assert sorted(each.name for each in folder.iterdir()) == ["jar", "stamp"]
    assert len(calls) == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "kafka-1.0"]


def test_a_program_that_is_missing_makes_a_version_not_to_be_had() -> None:
    with pytest.raises(UnavailableError, match="no-such-program cannot be run"):
        _ran(["no-such-program"])
