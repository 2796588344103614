"""Errors of a config file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Fault(NamedTuple):
    """One error: its place, and what was expected.

    `line` is 0 if the error is about the whole file, `column` is 0 if the line is enough. Both
    count from 1.
    """

    line: int
    key: str
    message: str
    column: int = 0


class ConfigError(Exception):
    """All errors of a file, one per line, in the order of the file."""

    def __init__(self, name: str, faults: Iterable[Fault]) -> None:
        """`name` is the name of the file in the text."""
        self.faults = tuple(sorted(set(faults)))
        self._name = name
        super().__init__(name, self.faults)

    def __str__(self) -> str:
        return "\n".join(_text(self._name, fault) for fault in self.faults)


def _text(name: str, fault: Fault) -> str:
    place = f"{name}:{fault.line}" if fault.line else name
    place += f":{fault.column}" if fault.column else ""
    text = f"{place}: {fault.key}: {fault.message}" if fault.key else f"{place}: {fault.message}"
    return on_one_line(text)


def on_one_line(text: str) -> str:
    """Return the text with unprintable characters escaped, because it may quote the file."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
