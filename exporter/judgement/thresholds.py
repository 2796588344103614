"""The thresholds of a subscription: the first line of the config that matches its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from exporter.patterns import LabelPatterns, labels_of_subscription

SOURCE_LABELS = frozenset({"system", "source"})


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Limits for one subscription. None switches a comparison off."""

    lag_messages: int | None = 1_000
    lag_seconds: float | None = 5.0
    """Age of the oldest message not yet processed."""
    consume_ratio: float | None = 1.0
    """Minimum ratio of the consume rate to the produce rate."""
    stop_seconds: float | None = 300.0
    """For how long a position may stay still while messages wait."""
    probe_seconds: float | None = 1.0
    """End-to-end latency of a probe."""
    consumers_expected: bool = True
    """Whether it is a fault if there are no consumers."""


DEFAULTS = Thresholds()
NAMES = tuple(field.name for field in fields(Thresholds))


@dataclass(frozen=True, slots=True)
class ThresholdLine:
    """One line of the table: patterns by label, which must all match whole, and its thresholds."""

    match: Mapping[str, str]
    said: Mapping[str, Any]


class ThresholdTable:
    """Lines in the order of the config. The first match applies; `rest` fills in missing values."""

    def __init__(
        self, lines: Sequence[ThresholdLine] = (), rest: Mapping[str, Any] | None = None
    ) -> None:
        self._lines = [(LabelPatterns(line.match), line.said) for line in lines]
        self._rest = replace(DEFAULTS, **(rest or {}))

    def of_subscription(
        self, system: str, source: str, vhost: str | None, destination: str, group: str | None
    ) -> Thresholds:
        """Return the thresholds of a subscription. A label that does not apply counts as empty."""
        values = labels_of_subscription(system, source, vhost, destination, group)
        for patterns, said in self._lines:
            if patterns.matches(values):
                return replace(self._rest, **said)
        return self._rest

    def of_source(self, system: str, source: str) -> Thresholds:
        """Return the thresholds of a source as a whole.

        Lines that match on other labels than system and source are ignored.
        """
        values = {"system": system, "source": source}
        for patterns, said in self._lines:
            if patterns.labels <= SOURCE_LABELS and patterns.matches(values):
                return replace(self._rest, **said)
        return self._rest
