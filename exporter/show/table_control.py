"""What the keys of `top` change: the part of the table that is shown, its filter and its order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from exporter.show.overview import Query
from exporter.show.sorting import by_value
from exporter.show.wording import names

Row = dict[str, Any]
Value = float | str | None
WORST = "worst first"
"""The order of the daemon."""
HELP = "up/down scroll   / filter   s sort   r reverse   w worst first   q quit"


def _largest(key: str) -> Callable[[Row], Value]:
    def value(row: Row) -> Value:
        found = row.get(key)
        return None if found is None else -found

    return value


def _lower_bound(key: str) -> Callable[[Row], Value]:
    def value(row: Row) -> Value:
        found = row.get(key)
        found = row.get(f"{key}_at_least") if found is None else found
        return None if found is None else -found

    return value


SORTS: dict[str, Callable[[Row], Value]] = {
    "LAG": _lower_bound("lag_messages"),
    "AGE": _lower_bound("lag_seconds"),
    "LOSS IN": lambda row: row.get("time_to_loss_seconds"),
    "IN/S": _largest("produced_messages_per_second"),
    "OUT/S": _largest("consumed_messages_per_second"),
    "CONSUMERS": lambda row: row.get("consumers"),
    "STATUS": lambda row: row.get("status"),
    "SOURCE": lambda row: names(row)[0],
    "DESTINATION": lambda row: names(row)[1],
    "GROUP": lambda row: names(row)[2],
}
"""Columns to sort by, in the order of the key `s`. Rows without a value come last."""
_ORDERS = (WORST, *SORTS)


class TableControl:
    """The state that keys change."""

    def __init__(self) -> None:
        self.first = 0
        """Index of the first row that is shown."""
        self.words = ""
        self.typing = False
        """Whether keys go to the filter."""
        self.order = WORST
        self.reverse = False
        self.quit = False

    def press(self, key: str, page: int, count: int) -> None:
        """Apply a key. `page` is the number of rows on the screen, `count` that of all."""
        if self.typing:
            self._type(key)
            return
        steps = {
            **dict.fromkeys(("up", "k"), -1),
            **dict.fromkeys(("down", "j"), 1),
            "page up": -page,
            "page down": page,
            "home": -count,
            "end": count,
        }
        if key in steps:
            self.first += steps[key]
        elif key == "/":
            self.typing = True
        elif key == "escape":
            self._filter("")
        elif key == "s":
            self.order = _ORDERS[(_ORDERS.index(self.order) + 1) % len(_ORDERS)]
            self.first, self.reverse = 0, False
        elif key == "r":
            self.first, self.reverse = 0, not self.reverse
        elif key == "w":
            self.first, self.order, self.reverse = 0, WORST, False
        elif key == "q":
            self.quit = True
        self.first = max(min(self.first, count - page), 0)

    def rows(self, every: Sequence[Row], page: int) -> list[Row]:
        """Return the rows that pass the filter, in order; keeps the first row within them."""
        query = Query(words=self.words.casefold().split())
        found = [row for row in every if query.wants(row)]
        if self.order != WORST:
            found = by_value(found, SORTS[self.order], reverse=self.reverse)
        elif self.reverse:
            found.reverse()
        self.first = max(min(self.first, len(found) - page), 0)
        return found

    def line(self) -> str:
        """Return the line below the table: the filter, the order and the keys."""
        if self.typing:
            return f"filter: {self.words}▏  (Enter keeps it, Esc removes it)"
        order = f"{self.order}, reversed" if self.reverse else self.order
        parts = [f"filter: {self.words} (Esc removes it)"] if self.words else []
        parts += [f"order: {order}"] if order != WORST else []
        return "   ".join([*parts, HELP])

    def _type(self, key: str) -> None:
        if key == "enter":
            self.typing = False
        elif key == "escape":
            self._filter("")
        elif key == "backspace":
            self._filter(self.words[:-1], typing=True)
        elif len(key) == 1:
            self._filter(self.words + key, typing=True)

    def _filter(self, words: str, *, typing: bool = False) -> None:
        self.words, self.typing, self.first = words, typing, 0
