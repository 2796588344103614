"""The rows of a broker's reply, each read by itself: one that is not what it must be is left out, counted and named."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from exporter.model import Problem

SHOWN = 60
"""Characters of a value that a message shows."""

R = TypeVar("R")
T = TypeVar("T")


class RowError(Exception):
    """A field of a row is not what it must be."""

    def __init__(self, field: str, value: Any, wanted: str) -> None:
        text = "missing" if value is None else f"{value!r:.{SHOWN}}"
        super().__init__(f"the field {field} is {text}, not {wanted}")


class Rows:
    """What was left out of one task's replies."""

    def __init__(self) -> None:
        self.unreadable = 0
        """Rows that were left out, in whole or in part."""
        self.nameless = 0
        """Those of them that do not tell what they are of, so that nothing can be said of what is missing."""
        self._first: tuple[str, str] | None = None

    def each(
        self, rows: Iterable[R], take: Callable[[R], T | None], what: str = "a row of the reply"
    ) -> Iterator[T]:
        """Yield what `take` makes of each row, but for None; a row for which it raises `RowError` has no name."""
        for row in rows:
            try:
                found = take(row)
            except RowError as error:
                self.nameless += 1
                self.refuse(what, error)
                continue
            if found is not None:
                yield found

    def refuse(self, subject: str, error: RowError) -> None:
        """Count a row that cannot be read, or not all of it."""
        self.unreadable += 1
        if self._first is None:
            self._first = (subject, str(error))

    def problems(self) -> list[Problem]:
        """Return what is missing, the first row standing for all."""
        if self._first is None:
            return []
        subject, message = self._first
        more = f"; {self.unreadable} rows cannot be read" if self.unreadable > 1 else ""
        return [Problem("invalid", subject, message + more)]


def text(row: Any, field: str) -> str:
    """Return a field that must be text. Raises `RowError`."""
    value = _value(row, field)
    if not isinstance(value, str):
        raise RowError(field, value, "text")
    return value


def number(row: Any, field: str) -> int:
    """Return a field that must be a number. Raises `RowError`."""
    value = number_or_none(row, field)
    if value is None:
        raise RowError(field, None, "a number")
    return value


def number_or_none(row: Any, field: str) -> int | None:
    """Return a field that is a number, or is not there. Raises `RowError`."""
    value = _value(row, field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RowError(field, value, "a number")
    return int(value)


def rows_of(row: Any, field: str) -> list[Any]:
    """Return a field that is a list, empty where it is not there. Raises `RowError`."""
    value = _value(row, field)
    if value is None:
        return []
    if not isinstance(value, list):
        raise RowError(field, value, "a list")
    return value


def _value(row: Any, field: str) -> Any:
    if not isinstance(row, Mapping):
        raise RowError(field, row, "in an object")
    return row.get(field)
