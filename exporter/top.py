"""A live table of subscriptions in the terminal, from a daemon's JSON or from sources collected here."""

from __future__ import annotations

import json
import ssl
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

Overview = dict[str, Any]
Fetch = Callable[[], Overview]

BARS = "▁▂▃▄▅▆▇█"
TREND = 12
"""Looks that the trend shows."""
TIMEOUT = 5.0


def from_url(url: str, context: ssl.SSLContext | None = None) -> Fetch:
    """Return a reader of a daemon's subscriptions. It raises `OSError` or `ValueError` where that fails."""
    address = url.rstrip("/") + "/api/v1/subscriptions"
    if not address.startswith(("http://", "https://")):
        address = "http://" + address

    def fetch() -> Overview:
        with urllib.request.urlopen(address, timeout=TIMEOUT, context=context) as answer:  # noqa: S310 - http(s) only
            found: Overview = json.load(answer)
        return found

    return fetch


class View:
    """Turns overviews into tables, and remembers enough of them to show a trend."""

    def __init__(self) -> None:
        self._trends: dict[tuple[str, str, str], deque[int]] = {}

    def take(self, overview: Overview) -> None:
        """Remember the lags of one look."""
        present = set()
        for row in overview["subscriptions"]:
            key = (row["source"], row["destination"], row["group"])
            present.add(key)
            if row["lag_messages"] is not None:
                self._trends.setdefault(key, deque(maxlen=TREND)).append(row["lag_messages"])
        for key in [key for key in self._trends if key not in present]:
            del self._trends[key]

    def table(self, overview: Overview, rows: int) -> Table:
        """Return the worst `rows` subscriptions as a table."""
        table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
        for name in ("SOURCE", "DESTINATION", "GROUP"):
            table.add_column(name, no_wrap=True, overflow="ellipsis")
        for name in ("LAG", "IN/S", "OUT/S", "CONSUMERS"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("TREND", no_wrap=True)
        subscriptions = overview["subscriptions"]
        for row in subscriptions[:rows]:
            key = (row["source"], row["destination"], row["group"])
            trend = self._trends.get(key, deque())
            table.add_row(
                *(Text(printable(part)) for part in key),
                Text(number(row["lag_messages"], 0), style=_style(row)),
                number(row["produced_messages_per_second"], 1),
                number(row["consumed_messages_per_second"], 1),
                number(row["consumers"], 0),
                sparkline(trend),
            )
        if len(subscriptions) > rows:
            table.caption = f"{len(subscriptions) - rows} more"
        return table

    def screen(self, overview: Overview, rows: int, title: str) -> Group:
        """Return title, faults of sources, and the table."""
        lines = [Text(title, style="dim")]
        for source in overview["sources"]:
            if not source["up"]:
                fault = printable(source["message"] or "not yet read")
                style = "red" if source["message"] else "dim"
                lines.append(Text(f"{printable(source['source'])}: {fault}", style=style))
        return Group(*lines, self.table(overview, rows))


def watch(
    fetch: Fetch,
    *,
    title: str,
    interval: float,
    stop: threading.Event,
    console: Console,
    looks: int | None = None,
) -> int:
    """Show the table until `stop` is set, or for `looks` times; returns an exit code.

    Without a terminal, each look is printed below the one before.
    """
    view = View()
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
                view.take(overview)
                screen: Any = view.screen(overview, max(console.height - 6, 5), title)
                answered = True
            except (OSError, ValueError) as error:
                answered = False
                reason = getattr(error, "reason", error)
                screen = Text(printable(f"{title}: no answer: {reason}"), style="red")
            except (KeyError, TypeError, AttributeError):
                answered = False
                screen = Text(f"{title}: no answer: this is no mq-lag-exporter", style="red")
            if live is not None:
                live.update(screen, refresh=True)
            else:
                console.print(screen)
            shown += 1
            if not answered and shown == 1:
                # Nobody is there, or not what is looked for: later on, a daemon may be restarted.
                break
            if looks is not None and shown >= looks:
                break
            stop.wait(max(interval - (time.monotonic() - started), 0.1))
    finally:
        if live is not None:
            live.stop()
    return 0 if answered or stop.is_set() else 1


def sparkline(values: deque[int]) -> str:
    """Draw the values as bars, the highest of them full."""
    top = max(values, default=0)
    if top == 0:
        return BARS[0] * len(values)
    return "".join(BARS[round(value / top * (len(BARS) - 1))] for value in values)


def number(value: float | None, digits: int) -> str:
    """Format a number for people; unknown is a dash."""
    return "-" if value is None else f"{value:,.{digits}f}"


def printable(text: str) -> str:
    """Replace what could steer a terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _style(row: dict[str, Any]) -> str:
    lag = row["lag_messages"]
    if not lag:
        return "green"
    produced, consumed = row["produced_messages_per_second"], row["consumed_messages_per_second"]
    behind = produced is not None and consumed is not None and consumed < produced
    return "red" if behind else "yellow"
