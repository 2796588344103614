"""The steps of a workload, and their syntax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import PydanticCustomError

from exporter.config.types import seconds
from exporter.load.marks import MARK_BYTES

EXAMPLE = "rate=100 for=30s; rate=500 consumers=4 takes=100 size=10kB fails=5%"
SIZES = {"MB": 1_000_000, "kB": 1_000, "B": 1}
LEAST_SIZE = MARK_BYTES
"""Least size of a message in bytes, which is that of the mark in it."""
MOST_SIZE = 1_000_000
MOST_CONSUMERS = 1_000


@dataclass(frozen=True)
class Step:
    """One step: the published messages, and the consumers."""

    rate: float = 100.0
    """Messages per second."""
    seconds: float = 30.0
    size: int = 100
    """Bytes per message."""
    consumers: int = 1
    takes: float | None = None
    """Messages per second that each consumer can process; None for no limit."""
    fails: float = 0.0
    """Fraction of the deliveries that a consumer rejects."""


class StepError(ValueError):
    """An invalid step; the message says what is expected."""


def parse_steps(text: str) -> list[Step]:
    """Parse steps like those in `EXAMPLE`.

    A key that a step does not set keeps its value of the last step.

    Raises `StepError`.
    """
    steps: list[Step] = []
    step = Step()
    for number, part in enumerate(text.replace("\n", ";").split(";"), 1):
        words = part.split()
        if not words:
            continue
        for word in words:
            step = _changed(step, word, f"step {number}: {word}")
        steps.append(step)
    if not steps:
        raise StepError(f"no steps; expected for example: {EXAMPLE}")
    return steps


def duration(text: str) -> float:
    """Return the seconds of a duration such as `10m` or `1h30m`, at least 1.

    Raises `ValueError`.
    """
    try:
        found: float = seconds(text)
    except PydanticCustomError as error:
        raise ValueError(error.message()) from None
    if found < 1:
        raise ValueError("expected 1s or more")
    return found


def _changed(step: Step, word: str, where: str) -> Step:
    key, sign, value = word.partition("=")
    if not sign or key not in FIELDS:
        raise StepError(f"{where}: expected one of {', '.join(f'{name}=' for name in FIELDS)}")
    name, read = FIELDS[key]
    try:
        changed: dict[str, Any] = {name: read(value)}
    except ValueError as error:
        raise StepError(f"{where}: {error}") from None
    return replace(step, **changed)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1_000_000:  # noqa: PLR2004 - a second
        raise ValueError("expected a number of messages per second, at most 1000000")
    return value


def _taken(text: str) -> float | None:
    if text == "all":
        return None
    found = _number(text)
    if not found:
        raise ValueError(
            "expected a number greater than 0, or all; to have no consumers, write consumers=0"
        )
    return found


def _consumers(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= MOST_CONSUMERS):
        raise ValueError(f"expected an integer from 0 to {MOST_CONSUMERS}")
    return int(text)


def _size(text: str) -> int:
    for unit, factor in SIZES.items():
        digits = text.removesuffix(unit)
        if digits != text and digits.isascii() and digits.isdecimal():
            found = int(digits) * factor
            if LEAST_SIZE <= found <= MOST_SIZE:
                return found
    raise ValueError(f"expected a size from {LEAST_SIZE}B to 1MB, such as 100B or 10kB")


def _part(text: str) -> float:
    digits = text.removesuffix("%")
    try:
        found = float(digits) / 100 if digits != text else float(digits)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise ValueError("expected a share of the deliveries, such as 5%")
    return found


FIELDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "rate": ("rate", _number),
    "for": ("seconds", duration),
    "size": ("size", _size),
    "consumers": ("consumers", _consumers),
    "takes": ("takes", _taken),
    "fails": ("fails", _part),
}
"""Key in a step to the field and the parser of its value."""
