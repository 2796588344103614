"""What is wrong with a config file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Fault(NamedTuple):
    """One fault: where, and what was expected. `line` is 0 where the file as a whole is meant."""

    line: int
    key: str
    message: str


class ConfigError(Exception):
    """Every fault of a file, a line each, in the order of the file."""

    def __init__(self, name: str, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(set(faults)))
        super().__init__("\n".join(_text(name, fault) for fault in self.faults))


def _text(name: str, fault: Fault) -> str:
    place = f"{name}:{fault.line}" if fault.line else name
    return f"{place}: {fault.key}: {fault.message}" if fault.key else f"{place}: {fault.message}"
