"""The settings of the scaling advice: the first line of the config that matches a subscription."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from exporter.patterns import LabelPatterns, labels_of_subscription


@dataclass(frozen=True, slots=True)
class Weights:
    """The parts of the score. Only their ratios count."""

    lag: float = 0.4
    age: float = 0.3
    rate: float = 0.3


@dataclass(frozen=True, slots=True)
class Input:
    """A further part of the score: the result of a query, divided by its target."""

    key: Hashable
    """What to ask for the result."""
    target: float
    weight: float


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """How a subscription is scaled. Times are in seconds."""

    minimum: int = 1
    maximum: int = 100
    drain_time: float = 300.0
    """The backlog has to be processed within this time."""
    cooldown_out: float = 60.0
    """Time after a change during which no consumers are added."""
    cooldown_in: float = 600.0
    """Time after a change during which none are removed.

    Scaling in follows the highest advice of this time.
    """
    weights: Weights = field(default_factory=Weights)
    out_above: float = 0.8
    """Consumers are added only while the score is above this."""
    in_below: float = 0.6
    """Consumers are removed only while the score is below this."""
    hold_large_messages: bool = False
    """Whether not to add consumers if large messages are the likely cause of the backlog."""
    inputs: tuple[Input, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyLine:
    """One line of the config: patterns by label, which must all match whole, and its settings."""

    match: Mapping[str, str]
    settings: Mapping[str, Any]


class PolicyTable:
    """Lines in the order of the config. The first match applies."""

    def __init__(self, lines: Sequence[PolicyLine] = ()) -> None:
        self._lines = [
            (LabelPatterns(line.match), replace(ScalingPolicy(), **line.settings)) for line in lines
        ]

    def __bool__(self) -> bool:
        """Return whether there is any line."""
        return bool(self._lines)

    def of_subscription(
        self, system: str, source: str, vhost: str | None, destination: str, group: str | None
    ) -> ScalingPolicy | None:
        """Return the policy; None if no line matches: nothing is advised then."""
        values = labels_of_subscription(system, source, vhost, destination, group)
        for patterns, policy in self._lines:
            if patterns.matches(values):
                return policy
        return None
