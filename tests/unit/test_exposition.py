"""The bytes of `/metrics`: formats, encodings, hostile names; nothing is rendered twice."""

from __future__ import annotations

import gzip
import math
import threading
import time
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.analysis.families import INFINITY, Family, Value
from exporter.catalogue import CATALOGUE
from exporter.show.exposition import PIECE, Exposition, Format, accepts_gzip, labeler
from exporter.show.exposition import render as render_pieces
from exporter.show.gzip_parts import CompressedPart, GzipStream, stream
from exporter.show.own_metrics import OwnMetrics
from exporter.show.presentable import presentable

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;"
    "q=0.4,text/plain;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
HOSTILE = [
    'a"b',
    "a\\b",
    "a\nb",
    "a\\nb",
    "€ uro",
    "🙂",
    "a b",
    "a/b",
    "{a}",
    "a,b=",
    "x" * 249,
    "#",
]


def own(_: Format) -> bytes:
    return b"# TYPE own gauge\nown 1\n"


def exposition(*families: Family, source: str = "s") -> Exposition:
    page = Exposition(own)
    page.update(source, families)
    return page


def render(family: Family) -> bytes:
    return b"".join(each.plain() for each in render_pieces(family))


def family(name: str = "mq_lag_messages", group: str = "g", value: float | None = 5) -> Family:
    return Family(name, [labeler({"source": "s"})({"destination": "t", "group": group})], [value])


def text(page: Exposition, accept: str = "", encoding: str = "") -> str:
    answer = page.response(accept, encoding)
    body = b"".join(answer.content())
    if answer.encoding == "gzip":
        body = gzip.decompress(body)
    return body.decode()


def test_text_and_openmetrics_have_the_same_samples() -> None:
    page = exposition(family(), family("mq_consumed_messages_total", value=7))
    plain = {
        (s.name, tuple(sorted(s.labels.items())), s.value)
        for metric in parse_text(text(page))
        for s in metric.samples
    }
    negotiated = {
        (s.name, tuple(sorted(s.labels.items())), s.value)
        for metric in parse_openmetrics(text(page, PROMETHEUS))
        for s in metric.samples
    }
    assert plain == negotiated
    assert (
        "mq_consumed_messages_total",
        (("destination", "t"), ("group", "g"), ("source", "s")),
        7.0,
    ) in plain


@pytest.mark.parametrize(
    ("accept", "content_type", "end"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8", "own 1\n"),
        ("text/plain", "text/plain; version=0.0.4; charset=utf-8", "own 1\n"),
        (PROMETHEUS, "application/openmetrics-text; version=1.0.0; charset=utf-8", "# EOF\n"),
    ],
)
@pytest.mark.parametrize("encoding", ["", "gzip", "deflate, gzip;q=1.0"])
def test_the_client_chooses_format_and_encoding(
    accept: str, content_type: str, end: str, encoding: str
) -> None:
    page = exposition(family())
    answer = page.response(accept, encoding)
    assert answer.content_type == content_type
    assert answer.encoding == ("gzip" if encoding else None)
    assert text(page, accept, encoding).endswith(end)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/openmetrics-text; version=1..0", "application/openmetrics-text"),
        ("application/openmetrics-text;version=x.y;escaping=foo", "application/openmetrics-text"),
        ("text/plain; version=\xe9", "text/plain"),
        (";;=,=;,", "text/plain"),
    ],
)
def test_a_version_that_is_none_is_not_looked_at(accept: str, kind: str) -> None:
    assert exposition(family()).response(accept, "").content_type.startswith(kind)


@given(st.text(max_size=100))
def test_any_accept_header_gets_a_page(accept: str) -> None:
    exposition(family()).response(accept, accept)


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("*", True),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("br, gzip;q=0.5", True),
        ("gzip;q=nonsense", False),
    ],
)
def test_gzip_only_where_it_is_allowed(header: str, *, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_come_back_as_they_were(name: str) -> None:
    for body, parse in (
        (text(exposition(family(group=name))), parse_text),
        (text(exposition(family(group=name)), PROMETHEUS), parse_openmetrics),
    ):
        groups = [s.labels.get("group") for metric in parse(body) for s in metric.samples]
        assert name in groups


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_label_value_comes_back_as_it_was(value: str) -> None:
    line = render(Family("m", [labeler({})({"group": value})], [1])).decode()
    (metric,) = parse_text(line)
    assert metric.samples[0].labels["group"] == value


@pytest.mark.parametrize(
    ("name", "shown"), [("half \ud800", "half \\ud800"), ("\udc00\n€", "\\udc00\n€")]
)
def test_a_lone_surrogate_is_shown_as_its_escape_sequence(name: str, shown: str) -> None:
    """It has no UTF-8 form, and a backslash before a u is no escape of the text format."""
    page = text(exposition(family(group=name)))
    assert [s.labels["group"] for s in sample_of(page)] == [shown]


def test_the_end_of_a_very_long_name_becomes_a_digest() -> None:
    first, second = ("x" * 30_000 + end for end in "ab")
    found = [
        sample.labels["group"]
        for name in (first, second)
        for sample in sample_of(text(exposition(family(group=name))))
    ]
    assert len(set(found)) == 2
    assert all(len(value) < 1_100 and value.startswith("x" * 1_000) for value in found)


def sample_of(page: str) -> list[Any]:
    return [s for metric in parse_text(page) for s in metric.samples if s.name == "mq_lag_messages"]


@pytest.mark.parametrize(
    ("value", "shown"), [(5, "5"), (2**63, "9223372036854775808"), (0.25, "0.25")]
)
def test_values_are_written_whole(value: float, shown: str) -> None:
    assert render(family(value=value)).decode().split()[-1] == shown


def test_pieces_make_one_whole() -> None:
    labels = [labeler({})({"partition": str(number)}) for number in range(10_001)]
    lines = render(Family("m", labels, list(range(10_001)))).decode().splitlines()
    assert lines == [f'm{{partition="{number}"}} {number}' for number in range(10_001)]
    assert render(Family("m", [], [])) == b""


IMPOSSIBLE: list[Any] = [
    *(10**400, -(10**400), 2**64, -(2**64), 1e300, -1e300),
    *(math.nan, math.inf, -math.inf, "7", b"7", [1]),
]


@pytest.mark.parametrize("value", IMPOSSIBLE, ids=lambda value: repr(value)[:12])
def test_what_prometheus_cannot_read_is_left_out_and_counted_and_the_rest_is_shown(
    value: Any,
) -> None:
    label = labeler({"source": "s"})
    labels = [label({"group": group}) for group in "abcd"]
    page = exposition(Family("mq_lag_messages", labels, [1, value, 2.5, 3]))
    assert {s.labels["group"]: s.value for s in sample_of(text(page))} == {
        "a": 1,
        "c": 2.5,
        "d": 3,
    }
    assert page.left_out == 1


def test_numbers_that_cancel_out_are_found_all_the_same() -> None:
    labels = [labeler({})({"group": group}) for group in "ab"]
    page = exposition(Family("mq_lag_messages", labels, [2**64, -(2**64)]))
    assert sample_of(text(page)) == []
    assert page.left_out == 2


def test_many_large_values_that_are_possible_are_all_shown() -> None:
    """Together they are above the limit."""
    labels = [labeler({})({"group": str(number)}) for number in range(5_000)]
    page = exposition(Family("mq_lag_messages", labels, [2**62] * 5_000))
    assert len(sample_of(text(page))) == 5_000
    assert page.left_out == 0


def test_infinity_is_shown_where_it_is_meant() -> None:
    labels = [labeler({})({"group": group}) for group in "ab"]
    page = exposition(Family("mq_lag_messages", labels, [INFINITY, 1]))
    assert [s.value for s in sample_of(text(page))] == [math.inf, 1]
    assert page.left_out == 0


def test_an_unknown_value_is_left_out_and_not_counted() -> None:
    page = exposition(family(value=None), family("mq_consumers"))
    assert [line for line in text(page).splitlines() if line.startswith("mq_lag")] == []
    assert page.left_out == 0


def test_each_update_counts_what_it_leaves_out_and_a_good_value_comes_back() -> None:
    page = exposition(family(value=10**400))
    page.update("s", [family(value=10**400)])
    assert page.left_out == 2
    page.update("s", [family(value=8)])
    assert [s.value for s in sample_of(text(page))] == [8]
    assert page.left_out == 2


def test_the_count_of_values_left_out_is_on_the_page() -> None:
    count = [0]
    metrics = OwnMetrics(lambda: count[0])
    assert b"\nmq_values_out_of_range_total 0.0\n" in metrics.render("text")
    count[0] = 3
    for fmt in ("text", "openmetrics"):
        assert b"\nmq_values_out_of_range_total 3.0\n" in metrics.render(fmt)


def test_a_metric_of_two_sources_is_one_family() -> None:
    page = exposition(family(), source="a")
    page.update("b", [family(group="h"), family("mq_consumers")])
    body = text(page)
    assert body.count("# TYPE mq_lag_messages gauge") == 1
    names = [line.split("{")[0] for line in body.splitlines() if line.startswith("mq_")]
    assert names == ["mq_lag_messages", "mq_lag_messages", "mq_consumers"]


def test_a_metric_stays_together_whatever_comes_and_goes() -> None:
    page = Exposition(own)
    for turn in range(3):
        for source in "abc":
            names = ("mq_lag_messages", "mq_consumers", "mq_consumed_messages_total")
            page.update(source, [family(name, value=turn) for name in names])
            for accept in ("", PROMETHEUS):
                assert text(page, accept, "gzip") == text(page, accept)
                parse = parse_openmetrics if accept else parse_text
                assert len({m.name for m in parse(text(page, accept))}) == len(
                    list(parse(text(page, accept)))
                )
        page.remove("b")


def many(count: int) -> Exposition:
    page = Exposition(own)
    for number in range(count):
        page.update(str(number), [family(metric.name) for metric in CATALOGUE])
    return page


def test_an_update_costs_what_its_source_costs_whatever_the_number_of_sources() -> None:
    def cost(page: Exposition, turn: int) -> float:
        families = [family(metric.name, value=turn) for metric in CATALOGUE]
        began = time.thread_time()
        page.update("0", families)
        return time.thread_time() - began

    one, hundred = many(1), many(100)
    assert min(cost(hundred, turn) for turn in range(20)) < 3 * min(
        cost(one, turn) for turn in range(20)
    )


def test_a_page_is_put_in_order_once_for_all_scrapes_until_the_next_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []

    def counted(parts: Iterable[CompressedPart]) -> GzipStream:
        made.append(1)
        return stream(parts)

    monkeypatch.setattr("exporter.show.exposition.stream", counted)
    page = many(3)
    assert not made
    with ThreadPoolExecutor(8) as threads:
        bodies = set(threads.map(lambda _: text(page, encoding="gzip"), range(8)))
    assert (len(made), len(bodies)) == (1, 1)
    page.update("1", [])
    text(page, encoding="gzip")
    assert len(made) == 2


def test_scrapes_beside_updates_are_whole() -> None:
    """Both metrics of a source have the same value: an update shows as a whole or not yet."""
    page = Exposition(own)
    stop = threading.Event()

    def change() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            page.update("s", [family(value=turn), family("mq_consumers", value=turn)])

    with ThreadPoolExecutor(1) as threads:
        changing = threads.submit(change)
        try:
            for _ in range(200):
                values = {
                    s.value
                    for metric in parse_text(text(page, encoding="gzip"))
                    for s in metric.samples
                    if s.name.startswith("mq_")
                }
                assert len(values) <= 1
        finally:
            stop.set()
        changing.result()


def test_a_removed_source_takes_its_series_with_it() -> None:
    page = exposition(family())
    page.remove("s")
    assert "mq_lag_messages" not in text(page)
    assert text(page, encoding="gzip") == text(page)


def test_a_gzip_page_is_one_member() -> None:
    page = b"".join(exposition(family(), family("mq_consumers")).response("", "gzip").content())
    reader = zlib.decompressobj(31)
    assert reader.decompress(page).decode() == text(exposition(family(), family("mq_consumers")))
    assert (reader.eof, reader.unused_data) == (True, b"")


def test_what_did_not_change_is_not_rendered_again() -> None:
    page = exposition(family())
    before = page.response("", "gzip").chunks[0]
    page.update("s", [family()])
    assert page.response("", "gzip").chunks[0] == before
    page.update("s", [family(value=6)])
    assert page.response("", "gzip").chunks[0] != before


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of values of each piece that is rendered."""
    counts: list[int] = []

    def counted(labels: Sequence[str], values: Sequence[Value]) -> Any:
        counts.append(len(values))
        return presentable(labels, values)

    monkeypatch.setattr("exporter.show.exposition.presentable", counted)
    return counts


def test_only_pieces_that_changed_are_rendered_again(rendered: list[int]) -> None:
    labels = [labeler({})({"destination": str(number)}) for number in range(2 * PIECE + 5)]
    values: list[Value] = [*range(len(labels))]
    page = exposition(Family("mq_lag_messages", labels, values))
    assert rendered == [PIECE, PIECE, 5]
    page.update("s", [Family("mq_lag_messages", list(labels), list(values))])
    assert rendered == [PIECE, PIECE, 5]
    values[PIECE] = 7  # in place: the owner may reuse its list
    page.update("s", [Family("mq_lag_messages", labels, values)])
    assert rendered == [PIECE, PIECE, 5, PIECE]
    assert f'destination="{PIECE}"}} 7\n' in text_of(page)
    assert text_of(page) == text_of(exposition(Family("mq_lag_messages", labels, values)))
    page.update("s", [Family("mq_lag_messages", labels[1:], values[1:])])
    assert text_of(page) == text_of(exposition(Family("mq_lag_messages", labels[1:], values[1:])))


def test_unknown_values_do_not_mix_up_the_pieces() -> None:
    labels = [labeler({})({"destination": str(number)}) for number in range(3 * PIECE)]
    values: list[Value] = [None] * PIECE + [*range(2 * PIECE)]
    page = exposition(Family("mq_lag_messages", labels, values))
    for changed in (values, [*values[:-1], 5], [1, *values[1:]]):
        page.update("s", [Family("mq_lag_messages", labels, changed)])
        assert text_of(page) == text_of(exposition(Family("mq_lag_messages", labels, changed)))


def text_of(page: Exposition) -> str:
    return b"".join(page.response("", "").content()).decode()


def test_a_scrape_makes_no_copy_of_the_page() -> None:
    page = exposition(family())
    first, second = page.response("", "gzip").chunks[0], page.response("", "gzip").chunks[0]
    assert first is second


def test_the_page_follows_the_order_of_the_catalogue() -> None:
    page = Exposition(own)
    page.update("s", [family(metric.name) for metric in reversed(CATALOGUE)])
    names = [line.split("{")[0] for line in text(page).splitlines() if line.startswith("mq_")]
    assert names == [metric.name for metric in CATALOGUE]


def test_counters_and_only_counters_end_in_total() -> None:
    for metric in CATALOGUE:
        assert (metric.kind == "counter") == metric.name.endswith("_total"), metric.name
