"""The keys of the live table: scrolling, filtering and sorting."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from exporter.show.keyboard import Keyboard, keyboard, keys_of
from exporter.show.table_control import HELP, SORTS, WORST, TableControl
from tests.support.told import Told, ToldDaemon
from tests.unit.test_overview import row

ROWS = [
    row("billing", lag_messages=10, consumers=2, source="b"),
    row("mailer", lag_messages=500, consumers=0, source="a", status="lagging"),
    row("audit", lag_messages=None, lag_messages_at_least=70, consumers=None, source="c"),
]


def groups(control: TableControl, rows: list[dict[str, Any]] = ROWS) -> list[str]:
    return [each["group"] for each in control.rows(rows, 10)]


def pressed(*keys: str, page: int = 10, count: int = 3) -> TableControl:
    control = TableControl()
    for key in keys:
        control.press(key, page, count)
    return control


def sorted_by(column: str) -> TableControl:
    return pressed(*["s"] * (1 + list(SORTS).index(column)))


# Control


def test_without_a_key_the_order_is_that_of_the_daemon() -> None:
    assert groups(TableControl()) == ["billing", "mailer", "audit"]
    assert TableControl().line() == HELP


@pytest.mark.parametrize(
    ("column", "order"),
    [
        ("LAG", ["mailer", "audit", "billing"]),
        ("CONSUMERS", ["mailer", "billing", "audit"]),
        ("STATUS", ["mailer", "billing", "audit"]),
        ("SOURCE", ["mailer", "billing", "audit"]),
        ("GROUP", ["audit", "billing", "mailer"]),
    ],
)
def test_s_sorts_by_the_next_column(column: str, order: list[str]) -> None:
    control = sorted_by(column)
    assert groups(control) == order
    assert f"order: {column}" in control.line()


def test_r_reverses_and_an_unknown_value_stays_last() -> None:
    control = sorted_by("CONSUMERS")
    control.press("r", 10, 3)
    assert groups(control) == ["billing", "mailer", "audit"]
    assert "order: CONSUMERS, reversed" in control.line()
    assert groups(pressed("r")) == ["audit", "mailer", "billing"]


def test_w_and_the_last_column_lead_back_to_the_worst_first() -> None:
    assert pressed("s", "r", "w").order == WORST
    assert groups(pressed("s", "r", "w")) == ["billing", "mailer", "audit"]
    assert pressed(*["s"] * (len(SORTS) + 1)).order == WORST


def test_a_filter_is_typed_kept_and_removed() -> None:
    control = pressed("/", *"MAIL s")
    assert (groups(control), control.order) == (["mailer"], WORST)
    assert control.line().startswith("filter: MAIL s")
    control.press("enter", 10, 3)
    assert groups(control) == ["mailer"]
    assert control.line().startswith("filter: MAIL s (Esc removes it)")
    control.press("s", 10, 3)
    assert control.order == "LAG"
    control.press("escape", 10, 3)
    assert len(groups(control)) == 3


def test_backspace_deletes_a_character_of_the_filter() -> None:
    assert groups(pressed("/", *"auditt", "backspace")) == ["audit"]
    assert pressed("/", "q", "up").words == "q"


@pytest.mark.parametrize(
    ("keys", "first"),
    [
        (["down"], 1),
        (["j", "j", "k"], 1),
        (["up"], 0),
        (["page down"], 10),
        (["page down", "page up"], 0),
        (["end"], 20),
        (["page down"] * 9, 20),
        (["end", "up"], 19),
        (["end", "home"], 0),
        (["end", "s"], 0),
        (["x"], 0),
    ],
)
def test_keys_scroll_within_the_table(keys: list[str], first: int) -> None:
    assert pressed(*keys, count=30).first == first


def test_a_filter_that_leaves_fewer_rows_shows_them_from_the_first() -> None:
    control = pressed("end", count=30)
    control.rows(ROWS, 10)
    assert control.first == 0


def test_q_quits() -> None:
    assert pressed("q").quit
    assert not pressed("/", "q").quit


# Keyboard


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("a/ü", ["a", "/", "ü"]),
        ("\x1b[A\x1bOB\x1b[5~\x1b[6~", ["up", "down", "page up", "page down"]),
        ("\x1b[H\x1b[4~", ["home", "end"]),
        ("\r\x7f\x1b", ["enter", "backspace", "escape"]),
        ("\x00\x05\x1b[1;5C", []),
    ],
)
def test_keys_have_names(text: str, keys: list[str]) -> None:
    assert keys_of(text) == keys


class InParts(Keyboard):
    """Gets its text in these parts."""

    def __init__(self, *parts: str) -> None:
        super().__init__(-1)
        self._parts = iter(parts)

    def _text(self, seconds: float) -> str:
        return next(self._parts, "")


@pytest.mark.parametrize("parts", [("\x1b", "[B"), ("\x1b[", "B"), ("\x1bO", "B")])
def test_a_sequence_that_arrives_in_two_parts_is_one_key(parts: tuple[str, ...]) -> None:
    assert list(InParts(*parts).read(1.0)) == ["down"]
    assert list(InParts("\x1b").read(1.0)) == ["escape"]


def test_a_terminal_that_is_gone_ends_the_keys() -> None:
    out, into = os.pipe()
    os.close(into)
    board = Keyboard(out)
    assert list(board.read(1.0)) == []
    assert board.ended
    os.close(out)


def test_without_a_terminal_there_is_no_keyboard(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull, encoding="utf-8") as nothing:  # noqa: PTH123 - a device
        monkeypatch.setattr(sys, "stdin", nothing)
        with keyboard() as found:
            assert found is None


# The command


class Terminal:
    """`top` on a terminal of its own."""

    def __init__(self, url: str) -> None:
        self._ours, theirs = pty.openpty()
        name = os.ttyname(theirs)
        self.before = termios.tcgetattr(theirs)
        # The leader of a new session gets the first terminal that it opens.
        script = f"exec {sys.executable} -m exporter top {url} --interval 0.3 <>{name} >&0 2>&0"
        environ = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "17"}
        self.process = subprocess.Popen(["sh", "-c", script], start_new_session=True, env=environ)
        self._theirs = theirs
        self.text = ""

    def press(self, keys: str) -> None:
        self.text = ""
        os.write(self._ours, keys.encode())

    def wait(self, condition: Callable[[str], bool], seconds: float = 60.0) -> str:
        until = time.monotonic() + seconds
        while not condition(self.text):
            assert time.monotonic() < until, self.text
            if select.select([self._ours], [], [], 0.5)[0]:
                self.text += os.read(self._ours, 65_536).decode("utf-8", "replace")
        return self.text

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    lags: dict[tuple[str, str], Sequence[int]] = {
        (f"group-{index:02}", "orders"): [100 - index] for index in range(30)
    }
    with ToldDaemon(shop=Told(lags)) as daemon:
        shown = Terminal(daemon.url)
        yield shown
        shown.close()


def test_top_scrolls_filters_sorts_and_quits_by_keys(terminal: Terminal) -> None:
    terminal.wait(lambda text: "20 more" in text and HELP in text)
    terminal.press("\x1b[6~")
    terminal.wait(lambda text: "10 above; 10 more" in text)
    terminal.press("/group-2")
    terminal.wait(lambda text: "filter: group-2" in text and "group-29" in text)
    terminal.press("\r")
    terminal.wait(lambda text: "filter: group-2 (Esc removes it)" in text)
    terminal.press("\x1b")
    terminal.wait(lambda text: "20 more" in text and "filter:" not in text.rpartition("20 more")[2])
    terminal.press("sr")
    text = terminal.wait(lambda text: "order: LAG, reversed" in text and "20 more" in text)
    assert re.search("group-29.*group-28", text, re.DOTALL)
    terminal.press("q")
    assert terminal.process.wait(30) == 0


def test_ctrl_c_ends_top_and_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    terminal.wait(lambda text: HELP in text)
    assert termios.tcgetattr(terminal._theirs)[3] != terminal.before[3]
    terminal.press("\x03")
    terminal.process.wait(30)
    assert terminal.process.returncode in (0, 128 + signal.SIGINT)
    assert termios.tcgetattr(terminal._theirs) == terminal.before
