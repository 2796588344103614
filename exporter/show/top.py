"""A live table of subscriptions in the terminal.

The data comes from a daemon's JSON or from sources read by this process.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from exporter.scrub import scrub
from exporter.show.wording import Standing, age, lag, loss, names, number, plain, standing

Overview = dict[str, Any]
Fetch = Callable[[], Overview]

BARS = "▁▂▃▄▅▆▇█"
TREND = 12
"""Number of polls that the trend shows."""
TREND_LEAST = 5
"""Least number of polls that make a trend."""
NAMES = ("SOURCE", "DESTINATION", "GROUP")
NAME_LEAST = 8
"""Least number of characters of a name on a narrow terminal."""
WORDS = ("STATUS", "CAUSE")
"""Columns with text instead of numbers."""
SPARE = {"CONSUMERS": True, "CAUSE": True, "STATUS": False}
"""Columns that a narrow terminal omits, in this order. True: to avoid cutting names. False: only if
names would get too short.
"""
GAP = 2
"""Characters between two columns."""
COLOURS: dict[Standing, str] = {"good": "green", "unsure": "yellow", "bad": "red"}
TIMEOUT = 5.0


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

    def table(self, overview: Overview, rows: int, width: int) -> Table:
        """Return the worst `rows` subscriptions as a table for a terminal of `width` characters."""
        subscriptions = overview["subscriptions"]
        shown = subscriptions[:rows]
        keys = [names(row) for row in shown]
        columns = [[printable(key[part]) for key in keys] for part in range(len(NAMES))]
        numbers = _numbers(shown)
        wanted = [_width([head, *n]) for head, n in zip(NAMES, columns, strict=True)]
        left_out = []
        for spare, whole_names in SPARE.items():
            needed = sum(wanted) if whole_names else NAME_LEAST * len(NAMES)
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
        notes = [f"{len(subscriptions) - rows} more"] if len(subscriptions) > rows else []
        if left_out:
            notes.append(f"too narrow for {', '.join(left_out)}")
        table.caption = "; ".join(notes) or None
        return table

    def screen(self, overview: Overview, rows: int, title: str, width: int) -> Group:
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
        return Group(*lines, self.table(overview, rows, width))


def _numbers(rows: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the columns after the names, by their heads."""
    losses = [loss(row) for row in rows]
    causes = [plain(row["cause"]) for row in rows]
    return {
        "LAG": [lag(row) for row in rows],
        "AGE": [age(row) for row in rows],
        **({"LOSS IN": losses} if any(losses) else {}),
        "IN/S": [number(row["produced_messages_per_second"], 1) for row in rows],
        "OUT/S": [number(row["consumed_messages_per_second"], 1) for row in rows],
        "CONSUMERS": [number(row["consumers"], 0) for row in rows],
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
    """Show the table until `stop` is set, or `polls` times; return an exit code.

    Without a terminal, the tables are printed one below the other.
    """
    view = TableView()
    shown = 0
    answered = True
    live = Live(console=console, auto_refresh=False, screen=False) if console.is_terminal else None
    try:
        if live is not None:
            live.start()
        while not stop.is_set():
            started = time.monotonic()
            try:
                overview = fetch()
                view.remember(overview)
                rows = max(console.height - 6, 5)
                screen: Any = view.screen(overview, rows, title, console.width)
                answered = True
            except (OSError, ValueError) as error:
                answered = False
                reason = getattr(error, "reason", error)
                screen = Text(
                    printable(f"{title}: request failed: {scrub(str(reason))}"), style="red"
                )
            except (KeyError, TypeError, AttributeError):
                answered = False
                screen = Text(
                    f"{title}: request failed: this is not an mq-lag-exporter", style="red"
                )
            if live is not None:
                live.update(screen, refresh=True)
            else:
                console.print(screen)
            shown += 1
            if not answered and shown == 1:
                # The first poll failed, so this is not a daemon. Later failures may be a restart.
                break
            if polls is not None and shown >= polls:
                break
            stop.wait(max(interval - (time.monotonic() - started), 0.1))
    finally:
        if live is not None:
            live.stop()
    return 0 if answered or stop.is_set() else 1


def sparkline(values: Sequence[int]) -> str:
    """Draw the values as bars, relative to the highest."""
    top = max(values, default=0)
    if top == 0:
        return BARS[0] * len(values)
    return "".join(BARS[round(value / top * (len(BARS) - 1))] for value in values)


def printable(text: str) -> str:
    """Replace characters that could control the terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
