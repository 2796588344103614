"""Keeps what the scaling advice has learned across restarts, in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt, ValidationError

from exporter.scaling.advisor import Memory
from exporter.scaling.board import SubscriptionName

OLDEST_SECONDS = 7 * 86_400.0
"""What was learned of a subscription is forgotten when it was gone for longer."""
MOST_BYTES = 64 << 20
Positive = Annotated[FiniteFloat, Field(gt=0)]
NotNegative = Annotated[FiniteFloat, Field(ge=0)]


class _Row(BaseModel):
    """One subscription."""

    model_config = ConfigDict(strict=True)

    source: str
    vhost: str | None
    destination: str
    group: str | None
    capacity: Positive | None
    advice: NonNegativeInt | None
    changed_ago: NotNegative | None
    limit: NonNegativeInt | None
    limit_for: NotNegative
    gone_for: NotNegative = 0.0

    def place(self) -> SubscriptionName:
        return SubscriptionName(self.source, self.vhost, self.destination, self.group)

    def memory(self, passed: float) -> Memory:
        """Return the memory, `passed` seconds after it was saved."""
        saved = Memory(
            self.capacity, self.advice, self.changed_ago, self.limit, self.limit_for, self.gone_for
        )
        return saved.later(passed)


class _File(BaseModel):
    """The content of the file."""

    model_config = ConfigDict(strict=True)

    version: Literal[1]
    saved: FiniteFloat
    """Unix time."""
    subscriptions: list[_Row]


def load_memories(path: Path, now: float) -> dict[SubscriptionName, Memory]:
    """Return what was saved; `now` is Unix time. Empty without a file.

    Raises `ValueError` with a text for people if the file cannot be used.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    if len(content) > MOST_BYTES:
        raise ValueError("the file is too large")
    try:
        found = _File.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(
            f"the file is damaged or not the exporter's: {where} {first['msg']}"
        ) from None
    # The clock may have been set back meanwhile.
    passed = max(now - found.saved, 0.0)
    return fresh({row.place(): row.memory(passed) for row in found.subscriptions})


def fresh(memories: Mapping[SubscriptionName, Memory]) -> dict[SubscriptionName, Memory]:
    """Return those that are not too old to be used."""
    return {
        place: memory for place, memory in memories.items() if memory.gone_for <= OLDEST_SECONDS
    }


def save_memories(path: Path, memories: Mapping[SubscriptionName, Memory], now: float) -> None:
    """Write the file; `now` is Unix time. Raises `OSError`; then the old file is unchanged."""
    rows = [
        _Row.model_construct(**place._asdict(), **memory._asdict())
        for place, memory in memories.items()
        if _is_text(place)
    ]
    content = _File.model_construct(version=1, saved=now, subscriptions=rows)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(content.model_dump_json(), encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _is_text(place: SubscriptionName) -> bool:
    """Return whether the names have a form in UTF-8. A broker may send lone surrogates."""
    try:
        "".join(filter(None, place)).encode()
    except UnicodeEncodeError:
        return False
    return True
