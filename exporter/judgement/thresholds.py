"""Which thresholds hold for a subscription, by the first line whose patterns match its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from exporter.patterns import NamePattern

SUBSCRIPTION_LABELS = ("system", "source", "vhost", "destination", "group")
SOURCE_LABELS = frozenset({"system", "source"})


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a subscription is compared with; None is a comparison that is switched off."""

    lag_messages: int | None = 1_000
    lag_seconds: float | None = 5.0
    """Age of the oldest message not yet processed."""
    consume_ratio: float | None = 1.0
    """Part of what is produced that has to be consumed."""
    stop_seconds: float | None = 300.0
    """How long a position with messages in front of it may stand still."""
    probe_seconds: float | None = 1.0
    """End to end."""
    consumers_expected: bool = True
    """Whether nobody reading is a fault."""


DEFAULTS = Thresholds()
NAMES = tuple(field.name for field in fields(Thresholds))


@dataclass(frozen=True, slots=True)
class ThresholdLine:
    """One line of the table: patterns by label, all of which have to match whole, and what it says."""

    match: Mapping[str, str]
    said: Mapping[str, Any]


class ThresholdTable:
    """Lines in the order of the config. The first that matches counts; what it does not say comes from `rest`."""

    def __init__(
        self, lines: Sequence[ThresholdLine] = (), rest: Mapping[str, Any] | None = None
    ) -> None:
        self._lines = [
            (
                {label: NamePattern(each) for label, each in line.match.items()},
                line.said,
            )
            for line in lines
        ]
        self._rest = replace(DEFAULTS, **(rest or {}))

    def of_subscription(
        self, system: str, source: str, vhost: str | None, destination: str, group: str | None
    ) -> Thresholds:
        """Return what holds for a subscription. A label that does not apply is like an empty one."""
        values = dict(
            zip(SUBSCRIPTION_LABELS, (system, source, vhost, destination, group), strict=True)
        )
        for patterns, said in self._lines:
            if all(each.matches(values[label] or "") for label, each in patterns.items()):
                return replace(self._rest, **said)
        return self._rest

    def of_source(self, system: str, source: str) -> Thresholds:
        """Return what holds for a source as a whole: lines that ask for more than system and source say nothing of it."""
        values = {"system": system, "source": source}
        for patterns, said in self._lines:
            if patterns.keys() <= SOURCE_LABELS and all(
                each.matches(values[label]) for label, each in patterns.items()
            ):
                return replace(self._rest, **said)
        return self._rest
