"""Reads the rows of a broker's reply one by one.

A row that cannot be read is left out, counted and reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any, TypeVar

from exporter.model import Problem

SHOWN = 60
"""Largest number of characters of a value in a message."""

LARGEST = 2**63 - 1
"""Counters of brokers have 64 bits. Prometheus could not store larger numbers."""
A_COUNT = "a whole number from 0 to 2^63 - 1"
LAST_PORT = 65_535
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")

R = TypeVar("R")
T = TypeVar("T")


class RowError(Exception):
    """A field of a row has an unexpected type or value."""

    def __init__(self, field: str, value: Any, wanted: str) -> None:
        text = "missing" if value is None else _shown(value)
        super().__init__(f"the field {field} is {text}, not {wanted}")


class Rows:
    """Counts the rows of one task's replies that were left out."""

    def __init__(self) -> None:
        self.unreadable = 0
        """Rows that were left out completely or partly."""
        self.nameless = 0
        """Those of them without a readable name, so it is unknown what is missing."""
        self._first: tuple[str, str] | None = None

    def each(
        self, rows: Iterable[R], parse: Callable[[R], T | None], what: str = "a row of the reply"
    ) -> Iterator[T]:
        """Yield the result of `parse` for each row, except None.

        A row for which it raises `RowError` has no readable name.
        """
        for row in rows:
            try:
                found = parse(row)
            except RowError as error:
                self.nameless += 1
                self.refuse(what, error)
                continue
            if found is not None:
                yield found

    def refuse(self, subject: str, error: RowError) -> None:
        """Count a row that cannot be read, or only in part."""
        self.unreadable += 1
        if self._first is None:
            self._first = (subject, str(error))

    def problems(self) -> list[Problem]:
        """Return a problem that names the first such row and their number; empty without any."""
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
    """Return a field that must be a count. Raises `RowError`."""
    value = number_or_none(row, field)
    if value is None:
        raise RowError(field, None, A_COUNT)
    return value


def number_or_none(row: Any, field: str) -> int | None:
    """Return a field that must be a count; None if it is absent. Raises `RowError`."""
    value = _value(row, field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST:
        raise RowError(field, value, A_COUNT)
    return value


def signed_number(row: Any, field: str) -> int:
    """Return a field that must be an integer. Raises `RowError`."""
    value = _value(row, field)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST:
        raise RowError(field, value, "a whole number")
    return value


def amount(row: Any, field: str) -> float:
    """Return a field that must be a number of at least 0. Raises `RowError`."""
    value = _value(row, field)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= LARGEST:
        raise RowError(field, value, "a number, 0 or more")
    return float(value)


def port(row: Any, field: str) -> int:
    """Return a field that must be a TCP port. Raises `RowError`."""
    value = number(row, field)
    if not 1 <= value <= LAST_PORT:
        raise RowError(field, value, "a port")
    return value


def host(row: Any, field: str) -> str:
    """Return a field that must be a host name or an IP address. Raises `RowError`."""
    value = text(row, field)
    if not is_host(value):
        raise RowError(field, value, "a host name or an IP address")
    return value


def is_host(text: str) -> bool:
    """Return whether the text is a host name or an IP address."""
    if _HOST_NAME.fullmatch(text):
        return True
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def rows_of(row: Any, field: str) -> list[Any]:
    """Return a field that must be a list; empty if it is absent. Raises `RowError`."""
    value = _value(row, field)
    if value is None:
        return []
    if not isinstance(value, list):
        raise RowError(field, value, "a list")
    return value


def _shown(value: Any) -> str:
    """Return the beginning of a value.

    Python refuses to print an integer of thousands of digits.
    """
    if isinstance(value, int) and abs(value) > LARGEST:
        return f"an integer of {value.bit_length()} bits"
    try:
        return f"{value!r:.{SHOWN}}"
    except (ValueError, RecursionError):
        return f"a {type(value).__name__}"


def _value(row: Any, field: str) -> Any:
    if not isinstance(row, Mapping):
        raise RowError(field, row, "in an object")
    return row.get(field)
