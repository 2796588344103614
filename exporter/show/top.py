"""A live table of subscriptions in the terminal.

The data comes from a daemon's JSON or from sources read by this process.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Self

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from exporter.scrub import scrub
from exporter.show.keyboard import Keyboard, keyboard
from exporter.show.table_control import TableControl
from exporter.show.wording import Standing, advice, age, lag, loss, names, number, plain, standing

Overview = dict[str, Any]
Fetch = Callable[[], Overview]

BARS = "▁▂▃▄▅▆▇█"
TREND = 12
"""Number of polls that the trend shows."""
TREND_LEAST = 5
"""Least number of polls that make a trend."""
NAMES = ("SOURCE", "DESTINATION", "GROUP")
NAME_WHOLE = 32
"""Longest name for which other columns are omitted."""
NAME_LEAST = 8
"""Least number of characters of a name on a narrow terminal."""
WORDS = ("STATUS", "CAUSE")
"""Columns with text instead of numbers."""
SPARE = {"CONSUMERS": True, "ADVICE": True, "CAUSE": True, "STATUS": False}
"""Columns that a narrow terminal omits, in this order. True: to avoid cutting names. False: only if
names would get too short.
"""
GAP = 2
"""Characters between two columns."""
COLOURS: dict[Standing, str] = {"good": "green", "unsure": "yellow", "bad": "red"}
TIMEOUT = 5.0
STOP_SECONDS = 0.2
"""Longest wait for a key before `stop` is looked at again."""


def from_url(url: str, context: ssl.SSLContext | None = None) -> Fetch:
    """Return a function that reads a daemon's subscriptions.

    It raises `OSError` or `ValueError` on failure.
    """
    address = url.rstrip("/") + "/api/v1/subscriptions"
    if not address.startswith(("http://", "https://")):
        address = "http://" + address

    def fetch() -> Overview:
        try:
            with urllib.request.urlopen(address, timeout=TIMEOUT, context=context) as answer:  # noqa: S310 - http(s) only
                found: Overview = json.load(answer)
        except urllib.error.HTTPError as refusal:
            # The error is also a response, which keeps its connection open.
            refusal.close()
            raise
        return found

    return fetch


class TableView:
    """Turns overviews into tables, and remembers earlier lags to show a trend."""

    def __init__(self) -> None:
        self._trends: dict[tuple[str, str, str], deque[int]] = {}

    def remember(self, overview: Overview) -> None:
        """Remember the lags of one overview."""
        present = set()
        for row in overview["subscriptions"]:
            key = names(row)
            present.add(key)
            if row["lag_messages"] is not None:
                self._trends.setdefault(key, deque(maxlen=TREND)).append(row["lag_messages"])
        for key in [key for key in self._trends if key not in present]:
            del self._trends[key]

    def table(self, overview: Overview, rows: int, width: int, first: int = 0) -> Table:
        """Return `rows` subscriptions from the `first` on as a table of at most `width` characters.

        The first ones are the worst.
        """
        subscriptions = overview["subscriptions"]
        shown = subscriptions[first : first + rows]
        keys = [names(row) for row in shown]
        columns = [[printable(key[part]) for key in keys] for part in range(len(NAMES))]
        numbers = _numbers(shown)
        wanted = [_width([head, *n]) for head, n in zip(NAMES, columns, strict=True)]
        left_out = []
        for spare, whole_names in SPARE.items():
            needed = (
                sum(min(each, NAME_WHOLE) for each in wanted)
                if whole_names
                else NAME_LEAST * len(NAMES)
            )
            if spare in numbers and _room(width, numbers) < needed + GAP * (len(NAMES) - 1):
                del numbers[spare]
                left_out.append(spare)
        widths, trend = _fit(wanted, _room(width, numbers))
        table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
        for head, most in zip(NAMES, widths, strict=True):
            table.add_column(head, no_wrap=True, overflow="ellipsis", width=most)
        for head in numbers:
            table.add_column(head, justify="left" if head in WORDS else "right", no_wrap=True)
        if trend:
            table.add_column("TREND", no_wrap=True)
        for index, (row, key) in enumerate(zip(shown, keys, strict=True)):
            style = _style(row)
            drawn = sparkline(list(self._trends.get(key, ()))[-trend:]) if trend else ""
            table.add_row(
                *(Text(each[index]) for each in columns),
                *(Text(cells[index], style.get(head, "")) for head, cells in numbers.items()),
                *([drawn] if trend else []),
            )
        below = len(subscriptions) - first - rows
        notes = [f"{first} above"] if first else []
        notes += [f"{below} more"] if below > 0 else []
        if left_out:
            notes.append(f"too narrow for {', '.join(left_out)}")
        table.caption = "; ".join(notes) or None
        return table

    def screen(
        self, overview: Overview, rows: int, title: str, width: int, first: int = 0
    ) -> Group:
        """Return the title, the faults of sources, and the table."""
        lines = [Text(title, style="dim")]
        for source in overview["sources"]:
            if not source["up"]:
                early = "starting" if source.get("starting") else "not read yet"
                fault = printable(source["message"] or early)
                style = "red" if source["message"] else "dim"
                lines.append(Text(f"{printable(source['source'])}: {fault}", style=style))
            lines += [
                Text(f"{printable(source['source'])}: {printable(alarm)}", style="red")
                for alarm in source.get("alarms", ())
            ]
        return Group(*lines, self.table(overview, rows, width, first))


def _numbers(rows: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the columns after the names, by their heads."""
    losses = [loss(row) for row in rows]
    causes = [plain(row["cause"]) for row in rows]
    advised = [advice(row) for row in rows]
    return {
        "LAG": [lag(row) for row in rows],
        "AGE": [age(row) for row in rows],
        **({"LOSS IN": losses} if any(losses) else {}),
        "IN/S": [number(row["produced_messages_per_second"], 1) for row in rows],
        "OUT/S": [number(row["consumed_messages_per_second"], 1) for row in rows],
        "CONSUMERS": [number(row["consumers"], 0) for row in rows],
        **({"ADVICE": advised} if any(advised) else {}),
        "STATUS": [plain(row["status"]) for row in rows],
        **({"CAUSE": causes} if any(causes) else {}),
    }


def _room(width: int, numbers: dict[str, list[str]]) -> int:
    """Return how many of `width` characters are left for the names and the trend."""
    return width - sum(_width([head, *cells]) + GAP for head, cells in numbers.items())


def _fit(names: list[int], room: int) -> tuple[list[int], int]:
    """Return the widths of the names and of the trend. The trend is shortened first."""
    left = room - sum(names) - GAP * (len(names) - 1)
    if left - GAP >= TREND_LEAST:
        return names, min(left - GAP, TREND)
    widths = list(names)
    while left < 0 and max(widths) > NAME_LEAST:
        widths[widths.index(max(widths))] -= 1
        left += 1
    return widths, 0


def _width(cells: Sequence[str]) -> int:
    return max(map(cell_len, cells))


def _style(row: dict[str, Any]) -> dict[str, str]:
    """Return the colours of a row's cells, by column head."""
    colour = COLOURS[standing(row)]
    return {"LAG": colour, "AGE": colour, "STATUS": colour, "LOSS IN": "red"}


def watch(
    fetch: Fetch,
    *,
    title: str,
    interval: float,
    stop: threading.Event,
    console: Console,
    polls: int | None = None,
) -> int:
    """Show the table until `stop` is set or the user quits, or `polls` times; return an exit code.

    Without a terminal, the tables are printed one below the other.
    """
    shown = 0
    with contextlib.ExitStack() as stack:
        keys = stack.enter_context(keyboard()) if console.is_terminal else None
        screen = _Screen(console, title, keys)
        stack.enter_context(screen)
        while not stop.is_set():
            started = time.monotonic()
            screen.poll(fetch)
            shown += 1
            if not screen.answered and shown == 1:
                # The first poll failed, so this is not a daemon. Later failures may be a restart.
                break
            if polls is not None and shown >= polls:
                break
            if screen.wait(max(interval - (time.monotonic() - started), 0.1), stop):
                break
    return 0 if screen.answered or stop.is_set() else 1


class _Screen:
    """The table on the console, and the keys that change it."""

    def __init__(self, console: Console, title: str, keys: Keyboard | None) -> None:
        self._console = console
        self._title = title
        self._keys = keys
        self._view = TableView()
        self._control = TableControl()
        self._overview: Overview | None = None
        self._live = (
            Live(console=console, auto_refresh=False, screen=False) if console.is_terminal else None
        )
        self.answered = True

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def poll(self, fetch: Fetch) -> None:
        """Fetch the subscriptions and show them, or the error."""
        title = self._title
        try:
            overview = fetch()
            self._view.remember(overview)
            drawn = self._drawn(overview)
            self._overview, self.answered = overview, True
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            drawn = Text(printable(f"{title}: request failed: {scrub(str(reason))}"), style="red")
            self._overview, self.answered = None, False
        except (KeyError, TypeError, AttributeError):
            drawn = Text(f"{title}: request failed: this is not an mq-lag-exporter", style="red")
            self._overview, self.answered = None, False
        self._show(drawn)

    def wait(self, seconds: float, stop: threading.Event) -> bool:
        """Wait, and redraw at each key; return whether the user quits."""
        until = time.monotonic() + seconds
        while not stop.is_set() and (left := until - time.monotonic()) > 0:
            if self._keys is None or self._keys.ended:
                stop.wait(left)
                continue
            pressed = self._keys.read(min(left, STOP_SECONDS))
            for key in pressed:
                count = len(self._overview["subscriptions"]) if self._overview else 0
                self._control.press(key, self._page, count)
            if self._control.quit:
                return True
            if pressed and self._overview is not None:
                self._show(self._drawn(self._overview))
        return False

    @property
    def _page(self) -> int:
        """Number of rows that fit."""
        return max(self._console.height - (6 if self._keys is None else 7), 5)

    def _drawn(self, overview: Overview) -> Any:
        page, width = self._page, self._console.width
        if self._keys is None:
            return self._view.screen(overview, page, self._title, width)
        rows = self._control.rows(overview["subscriptions"], page)
        found = {**overview, "subscriptions": rows}
        table = self._view.screen(found, page, self._title, width, self._control.first)
        line = Text(printable(self._control.line()), "dim", no_wrap=True, overflow="ellipsis")
        return Group(table, line)

    def _show(self, drawn: Any) -> None:
        if self._live is not None:
            self._live.update(drawn, refresh=True)
        else:
            self._console.print(drawn)


def sparkline(values: Sequence[int]) -> str:
    """Draw the values as bars, relative to the highest."""
    top = max(values, default=0)
    if top == 0:
        return BARS[0] * len(values)
    return "".join(BARS[round(value / top * (len(BARS) - 1))] for value in values)


def printable(text: str) -> str:
    """Replace characters that could control the terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
