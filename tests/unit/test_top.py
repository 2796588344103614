"""The live table: what it shows of an overview, and that no name can steer the terminal."""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from rich.console import Console

from exporter.top import BARS, TREND, View, number, printable, sparkline, watch

HOSTILE = "a\x1b[2Jb\x07c\x9b31md\ne\rf\u202eg"
HARMLESS = "a\ufffd[2Jb\ufffdc\ufffd31md\ufffde\ufffdf\ufffdg"


def row(**more: Any) -> dict[str, Any]:
    """One subscription as the daemon's JSON has it."""
    return {
        "source": "shop",
        "destination": "orders",
        "group": "billing",
        "lag_messages": 1234,
        "produced_messages_per_second": 120.0,
        "consumed_messages_per_second": 90.25,
        "consumers": 2,
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


def shown(looks: Iterable[dict[str, Any]], rows: int = 10, *, terminal: bool = False) -> str:
    """The screen after these looks."""
    view, there, screen = View(), console(terminal=terminal), None
    for look in looks:
        view.take(look)
        screen = view.screen(look, rows, "here")
    there.print(screen)
    return written(there)


def cells(text: str) -> list[list[str]]:
    """The words of each line."""
    return [line.split() for line in text.splitlines()]


# The table


def test_a_subscription_is_a_line_with_its_numbers() -> None:
    assert cells(shown([overview(row())])) == [
        ["here"],
        ["SOURCE", "DESTINATION", "GROUP", "LAG", "IN/S", "OUT/S", "CONSUMERS", "TREND"],
        ["shop", "orders", "billing", "1,234", "120.0", "90.2", "2", "█"],
    ]


def test_what_is_unknown_is_a_dash_and_zero_is_zero() -> None:
    unknown = row(
        lag_messages=None,
        produced_messages_per_second=None,
        consumed_messages_per_second=0.0,
        consumers=None,
    )
    assert cells(shown([overview(unknown)]))[-1] == [
        *("shop", "orders", "billing"),
        *("-", "-", "0.0", "-"),
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
    ("lag", "produced", "consumed", "colour"),
    [
        (0, 1.0, 0.0, "32"),  # caught up
        (5, 1.0, 1.0, "33"),  # behind, and holding
        (5, 1.0, 2.0, "33"),  # behind, and catching up
        (5, 2.0, 1.0, "31"),  # behind, and falling further
        (5, None, 1.0, "33"),
    ],
)
def test_the_colour_of_the_lag_says_how_it_goes(
    lag: int, produced: float | None, consumed: float | None, colour: str
) -> None:
    look = overview(
        row(
            lag_messages=lag,
            produced_messages_per_second=produced,
            consumed_messages_per_second=consumed,
        )
    )
    assert f"\x1b[{colour}m" in shown([look], terminal=True)


# Sources


def test_a_dead_source_is_shown_with_its_reason_above_the_table() -> None:
    text = shown([overview(row(), up=False, message="no broker answers")])
    assert text.splitlines()[1] == "shop: no broker answers"


def test_a_source_that_was_not_read_yet_says_so() -> None:
    assert shown([overview(up=False, message="")]).splitlines()[1] == "shop: not yet read"


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


# Numbers


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (None, 0, "-"),
        (0, 0, "0"),
        (1234567, 0, "1,234,567"),
        (0.04, 1, "0.0"),
        (1234.56, 1, "1,234.6"),
    ],
)
def test_numbers_are_for_people(value: float | None, digits: int, text: str) -> None:
    assert number(value, digits) == text


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
    assert sparkline(deque(values)) == bars


# Looking again and again


def watched(
    fetch: Callable[[], dict[str, Any]], there: Console, looks: int, stop: threading.Event
) -> str:
    watch(fetch, title="here", interval=0.01, stop=stop, console=there, looks=looks)
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
    said = [line for line in text.splitlines() if "no answer" in line]
    assert said == ["here: no answer: connection refused", "here: no answer: no JSON"]
    assert cells(text)[-1][:3] == ["shop", "orders", "billing"]


def test_it_ends_where_nobody_answers_at_first() -> None:
    def fetch() -> dict[str, Any]:
        raise OSError("connection refused")

    there = console()
    code = watch(fetch, title="here", interval=0.01, stop=threading.Event(), console=there)
    assert (code, written(there)) == (1, "here: no answer: connection refused\n")


@pytest.mark.parametrize("answer", [{}, [], {"sources": [], "subscriptions": [{}]}])
def test_an_answer_of_something_else_is_a_fault_like_others(answer: Any) -> None:
    text = watched(lambda: answer, console(), 1, threading.Event())
    assert text.startswith("here: no answer: ")


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
