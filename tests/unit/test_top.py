"""The live table: what it shows of an overview, and that no name can steer the terminal."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from exporter.show.top import BARS, TREND, TableView, printable, sparkline, watch
from exporter.show.wording import duration

HOSTILE = "a\x1b[2Jb\x07c\x9b31md\ne\rf\u202eg"
HARMLESS = "a\ufffd[2Jb\ufffdc\ufffd31md\ufffde\ufffdf\ufffdg"


def row(**more: Any) -> dict[str, Any]:
    """One subscription as the daemon's JSON has it."""
    return {
        "source": "shop",
        "destination": "orders",
        "group": "billing",
        "lag_messages": 1234,
        "lag_seconds": 250.0,
        "lag_seconds_uncertainty": 0.001,
        "commit_interval_seconds": 0.0,
        "time_to_loss_seconds": None,
        "produced_messages_per_second": 120.0,
        "consumed_messages_per_second": 90.25,
        "consumers": 2,
        "status": "lagging",
        "cause": None,
        "causes": [],
        "drains": True,
        **more,
    }


def overview(*rows: dict[str, Any], **source: Any) -> dict[str, Any]:
    up = {"source": "shop", "up": True, "message": ""}
    return {"sources": [{**up, **source}], "subscriptions": list(rows)}


def console(*, terminal: bool = False, width: int = 160, height: int = 40) -> Console:
    return Console(
        file=io.StringIO(),
        force_terminal=terminal,
        color_system="standard" if terminal else None,
        width=width,
        height=height,
    )


def written(there: Console) -> str:
    assert isinstance(there.file, io.StringIO)
    return there.file.getvalue()


def shown(
    looks: Iterable[dict[str, Any]], rows: int = 10, *, terminal: bool = False, width: int = 160
) -> str:
    """The screen after these looks."""
    view, there, screen = TableView(), console(terminal=terminal, width=width), None
    for look in looks:
        view.remember(look)
        screen = view.screen(look, rows, "here", width)
    there.print(screen)
    return written(there)


def cells(text: str) -> list[list[str]]:
    """The words of each line."""
    return [line.split() for line in text.splitlines()]


# The table


def test_a_subscription_is_a_line_with_its_numbers() -> None:
    assert cells(shown([overview(row())])) == [
        ["here"],
        [
            *("SOURCE", "DESTINATION", "GROUP", "LAG", "AGE", "IN/S", "OUT/S", "CONSUMERS"),
            *("STATUS", "TREND"),
        ],
        [
            *("shop", "orders", "billing", "1,234", "4", "m", "10", "s", "120.0", "90.2", "2"),
            *("lagging", "█"),
        ],
    ]


def test_a_cause_has_a_column_where_one_is_known() -> None:
    head, line = shown([overview(row(cause="slow_consumers"))]).splitlines()[-2:]
    assert head.split()[-3:] == ["STATUS", "CAUSE", "TREND"]
    assert "lagging  slow consumers" in line


def test_what_is_unknown_is_a_dash_and_zero_is_zero() -> None:
    unknown = row(
        lag_messages=None,
        lag_seconds=None,
        lag_seconds_uncertainty=None,
        produced_messages_per_second=None,
        consumed_messages_per_second=0.0,
        consumers=None,
    )
    assert cells(shown([overview(unknown)]))[-1] == [
        *("shop", "orders", "billing"),
        *("-", "-", "-", "0.0", "-", "lagging"),
    ]


def test_no_subscription_is_a_table_without_lines() -> None:
    assert len(cells(shown([overview()]))) == 2


def test_the_first_rows_are_shown_and_the_others_counted() -> None:
    rows = [row(group=f"g{index}") for index in range(5)]
    text = shown([overview(*rows)], rows=2)
    assert [line[2] for line in cells(text)[2:4]] == ["g0", "g1"]
    assert text.splitlines()[-1].strip() == "3 more"
    assert "more" not in shown([overview(*rows)], rows=5)


def test_the_trend_is_that_of_the_looks_before() -> None:
    looks = [overview(row(lag_messages=lag)) for lag in (0, 50, 100)]
    assert cells(shown(looks))[-1][-1] == f"{BARS[0]}{BARS[4]}{BARS[7]}"


def test_a_look_without_a_known_lag_leaves_the_trend_as_it_is() -> None:
    looks = [overview(row(lag_messages=lag)) for lag in (7, None, 7)]
    assert cells(shown(looks))[-1][-1] == BARS[7] * 2


def test_the_trend_is_of_one_group_and_one_destination() -> None:
    many = [
        row(source=source, destination=destination, group=group, lag_messages=lag)
        for lag, (source, destination, group) in enumerate(
            [("s", "d", "g"), ("s", "d", "h"), ("s", "e", "g"), ("t", "d", "g")], start=1
        )
    ]
    text = shown([overview(*many), overview(*many)])
    assert [line[-1] for line in cells(text)[2:]] == [BARS[7] * 2] * 4


def test_the_trend_begins_anew_when_a_subscription_comes_back() -> None:
    looks = [overview(row()), overview(), overview(row())]
    assert cells(shown(looks))[-1][-1] == BARS[7]


def test_the_trend_is_bounded() -> None:
    looks = [overview(row()) for _ in range(TREND + 5)]
    assert cells(shown(looks))[-1][-1] == BARS[7] * TREND


@pytest.mark.parametrize(
    ("row", "colour"),
    [
        (row(lag_messages=0, lag_seconds=0.0, status="ok"), "32"),
        (row(lag_seconds=60.0), "33"),
        (row(lag_seconds=60.0, drains=False), "31"),
    ],
    ids=["good", "unsure", "bad"],
)
def test_lag_and_age_have_the_colour_of_how_the_backlog_stands(
    row: dict[str, Any], colour: str
) -> None:
    text = shown([overview(row)], terminal=True)
    assert re.findall(r"\x1b\[(\d+)m *([^ \x1b][^\x1b]*?) *\x1b\[0m", text.splitlines()[-1]) == [
        (colour, f"{row['lag_messages']:,}"),
        (colour, duration(row["lag_seconds"])),
        (colour, row["status"]),
    ]


# Loss


def test_how_soon_messages_are_lost_is_shown_where_that_is_less_than_a_day_away() -> None:
    rows = [
        row(group="a", time_to_loss_seconds=7_500.0),
        row(group="b", time_to_loss_seconds=90_000.0),
        row(group="c", time_to_loss_seconds=None),
        row(group="d", time_to_loss_seconds=0.0),
    ]
    head, *lines = shown([overview(*rows)]).splitlines()[1:]
    assert re.search("LAG +AGE +LOSS IN +IN/S", head)
    place = head.index("LOSS IN")
    found = [line[place : place + len("LOSS IN")].strip() for line in lines]
    assert found == ["2 h 5 m", "", "", "now"]


def test_a_loss_is_red() -> None:
    text = shown([overview(row(time_to_loss_seconds=60.0))], terminal=True)
    assert re.search(r"\x1b\[31m *1 m 0 s\x1b", text)


@pytest.mark.parametrize("seconds", [None, 86_400.0])
def test_without_a_loss_to_come_there_is_no_column_for_it(seconds: float | None) -> None:
    assert "LOSS" not in shown([overview(row(time_to_loss_seconds=seconds))])


# Width

DEMO = [
    row(source="demo", destination="orders", group="billing", consumed_messages_per_second=90.0),
    row(source="demo", destination="orders", group="order-processing", lag_messages=12),
    row(source="demo", destination="payments", group="settlement", lag_seconds=0.4),
    row(source="demo", destination="emails", group="mailer", lag_seconds=7_500.0),
]
LONG = row(
    source="production-eu-west-1",
    destination="com.example.payments.settlement.events.v2",
    group="settlement-service-reconciliation-worker",
    lag_messages=123_456_789,
    time_to_loss_seconds=7_500.0,
)


def lines_of(width: int, *rows: dict[str, Any]) -> list[str]:
    """The table after as many looks as the trend may show, drawn for this width; without what is below it."""
    return shown([overview(*rows)] * TREND, width=width).splitlines()[1 : len(rows) + 2]


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_the_table_is_as_wide_as_the_terminal_at_most(width: int) -> None:
    for rows in (DEMO, [LONG], [*DEMO, LONG]):
        lines = lines_of(width, *rows)
        assert len(lines) == len(rows) + 1
        assert max(map(cell_len, lines)) <= width
        whole = shown([overview(*rows)] * TREND, width=width).splitlines()
        assert max(map(cell_len, whole)) <= width


@pytest.mark.parametrize("width", [80, 120])
def test_no_number_is_cut_off(width: int) -> None:
    head, line = lines_of(width, LONG)
    assert head.split()[3:9] == ["LAG", "AGE", "LOSS", "IN", "IN/S", "OUT/S"]
    assert "123,456,789  4 m 10 s  2 h 5 m  120.0   90.2" in line


def test_at_80_the_trend_goes_and_short_names_stay_whole() -> None:
    text = "\n".join(lines_of(80, *DEMO))
    assert "TREND" not in text
    assert "…" not in text
    assert "order-processing" in text


def test_at_120_there_is_room_for_all_of_it() -> None:
    head, *lines = lines_of(120, *DEMO)
    assert head.endswith("TREND" + " " * (TREND - len("TREND")))
    assert all(line.endswith(BARS[7] * TREND) for line in lines)


def test_between_the_two_the_trend_is_shorter() -> None:
    whole = cell_len(lines_of(160, *DEMO)[0])
    for less, bars in ((0, TREND), (1, TREND - 1), (TREND - 5, 5), (TREND - 4, 0)):
        line = lines_of(whole - less, *DEMO)[1]
        assert (less, line.count(BARS[7])) == (less, bars)


def test_where_names_would_be_nothing_the_consumers_go() -> None:
    head, line = lines_of(80, LONG)
    assert "CONSUMERS" not in head
    assert min(map(len, line.split()[:3])) >= 8
    assert "CONSUMERS" in lines_of(200, LONG)[0]


def test_what_is_not_shown_is_named() -> None:
    rows = [LONG, {**LONG, "cause": "slow_consumers"}]
    text = shown([overview(*rows)], rows=1, width=80)
    assert text.splitlines()[-1].strip() == "1 more; too narrow for CONSUMERS, STATUS"
    text = shown([overview(rows[1])], width=80)
    assert text.splitlines()[-1].strip() == "too narrow for CONSUMERS, CAUSE, STATUS"
    assert "narrow" not in shown([overview(*rows)], width=250)


def test_one_very_long_name_does_not_cost_the_other_columns() -> None:
    long = row(source="shop", destination="d" * 199, group="mailer", cause="slow_consumers")
    head = lines_of(130, *DEMO, long)[0]
    assert head.split()[-3:] == ["CONSUMERS", "STATUS", "CAUSE"]


def test_long_names_are_cut_off_the_longest_first() -> None:
    _, line = lines_of(100, {**LONG, "source": "shop", "time_to_loss_seconds": None})
    source, destination, group = line.split()[:3]
    assert source == "shop"
    assert destination[-1] == group[-1] == "…"
    assert abs(len(destination) - len(group)) <= 1


# Sources


def test_a_dead_source_is_shown_with_its_reason_above_the_table() -> None:
    text = shown([overview(row(), up=False, message="no broker answers")])
    assert text.splitlines()[1] == "shop: no broker answers"


def test_a_source_that_was_not_read_yet_says_so() -> None:
    assert shown([overview(up=False, message="")]).splitlines()[1] == "shop: not read yet"


def test_a_source_that_answers_takes_no_line() -> None:
    assert len(shown([overview(row())]).splitlines()) == 3


# Names


def test_control_characters_are_made_visible() -> None:
    assert printable(HOSTILE) == HARMLESS
    assert printable("billing/ü 🚀 [red]") == "billing/ü 🚀 [red]"


def test_no_name_can_steer_the_terminal() -> None:
    hostile = row(source=HOSTILE, destination=HOSTILE, group=HOSTILE)
    text = shown([overview(hostile, source=HOSTILE, up=False)])
    assert text.count(HARMLESS) == 4
    assert text.isascii() or all(char.isprintable() or char == "\n" for char in text)


def test_no_message_can_steer_the_terminal() -> None:
    """A message can quote a group's name, or come from whatever answers at the URL."""
    text = shown([overview(up=False, message=HOSTILE)])
    assert HARMLESS in text


def test_a_name_that_looks_like_markup_is_only_a_name() -> None:
    text = shown([overview(row(group="[red]x[/nothing]"), source="[b]", up=False, message="[/x]")])
    assert "[red]x[/nothing]" in text
    assert "[b]: [/x]" in text


# Trends


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ([], ""),
        ([0, 0], "▁▁"),
        ([5], "█"),
        ([5, 5], "██"),
        ([0, 7], "▁█"),
        ([10**15, 1], "█▁"),
        (range(8), "▁▂▃▄▅▆▇█"),
    ],
)
def test_sparkline(values: Iterable[int], bars: str) -> None:
    assert sparkline(list(values)) == bars


# Looking again and again


def watched(
    fetch: Callable[[], dict[str, Any]], there: Console, looks: int, stop: threading.Event
) -> str:
    watch(fetch, title="here", interval=0.01, stop=stop, console=there, polls=looks)
    return written(there)


def test_without_a_terminal_each_look_stands_below_the_one_before() -> None:
    lags = iter([1, 2])
    text = watched(lambda: overview(row(lag_messages=next(lags))), console(), 2, threading.Event())
    assert [line[3] for line in cells(text) if line[0] == "shop"] == ["1", "2"]
    assert "\x1b" not in text


def test_a_look_that_fails_says_so_and_the_next_one_is_taken() -> None:
    faults = iter([None, OSError("connection refused"), ValueError("no JSON")])

    def fetch() -> dict[str, Any]:
        fault = next(faults, None)
        if fault is not None:
            raise fault
        return overview(row())

    text = watched(fetch, console(), 4, threading.Event())
    said = [line for line in text.splitlines() if "request failed" in line]
    assert [line.rpartition(": ")[2] for line in said] == ["connection refused", "no JSON"]
    assert cells(text)[-1][:3] == ["shop", "orders", "billing"]


def test_it_ends_where_nobody_answers_at_first() -> None:
    def fetch() -> dict[str, Any]:
        raise OSError("connection refused")

    there = console()
    code = watch(fetch, title="here", interval=0.01, stop=threading.Event(), console=there)
    assert code == 1
    assert written(there).startswith("here: ")
    assert written(there).endswith(": connection refused\n")


@pytest.mark.parametrize("answer", [{}, [], {"sources": [], "subscriptions": [{}]}])
def test_an_answer_of_something_else_is_a_fault_like_others(answer: Any) -> None:
    text = watched(lambda: answer, console(), 1, threading.Event())
    assert text.startswith("here: request failed: ")


def test_on_a_terminal_the_table_is_drawn_in_place() -> None:
    text = watched(lambda: overview(row()), console(terminal=True), 2, threading.Event())
    assert "\x1b[" in text
    assert "billing" in text


def test_stop_ends_the_watch_without_another_look() -> None:
    stop = threading.Event()
    looks = []

    def fetch() -> dict[str, Any]:
        looks.append(1)
        stop.set()
        return overview(row())

    watch(fetch, title="here", interval=60.0, stop=stop, console=console())
    assert looks == [1]


def test_a_low_terminal_shows_fewer_rows() -> None:
    rows = [row(group=f"g{index}") for index in range(30)]
    text = watched(lambda: overview(*rows), console(height=16), 1, threading.Event())
    assert "20 more" in text
