"""The list of subscriptions that get scaling advice, with the limits of each."""

from __future__ import annotations

import math
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, WithJsonSchema, model_validator

from exporter.config.access import LoginConfig, TlsConfig
from exporter.config.shared import Model
from exporter.config.thresholds import MatchedLine, checked_lines
from exporter.config.types import (
    Count,
    HttpUrls,
    Interval,
    Limit,
    Positive,
    Ratio,
    Switch,
    duration,
    fault,
)

WHOLE = 1.0
"""Sum of the weights of lag, age and rate."""
LARGEST = 1e12


def _target(value: Any) -> Any:
    try:
        found = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if isinstance(value, bool) or not 0.0 < found <= LARGEST:
        raise fault("expected a number greater than 0")
    return found


def _score(value: Any) -> Any:
    found = _target(value)
    if found > 10.0:  # noqa: PLR2004 - the largest score that there is
        raise fault("expected a number greater than 0 and at most 10")
    return found


def _query(value: Any) -> Any:
    if not isinstance(value, str) or not value.strip():
        raise fault("expected a PromQL query that returns one number")
    return value.strip()


_NUMBER = WithJsonSchema({"type": "number", "minimum": 0})
Target = Annotated[float, BeforeValidator(_target), _NUMBER]
Score = Annotated[float, BeforeValidator(_score), _NUMBER]
Query = Annotated[str, BeforeValidator(_query), WithJsonSchema({"type": "string", "minLength": 1})]


class WeightsConfig(Model):
    """Weights of the parts of mq_scaling_score. Their sum is 1."""

    lag: Ratio = 0.4
    """Weight of the lag divided by its threshold."""
    age: Ratio = 0.3
    """Weight of the age of the oldest unprocessed message divided by its threshold."""
    rate: Ratio = 0.3
    """Weight of the produce rate divided by the consume rate."""

    @model_validator(mode="after")
    def _sum(self) -> Self:
        total = self.lag + self.age + self.rate
        if not math.isclose(total, WHOLE, abs_tol=0.001):
            raise fault(f"the weights of lag, age and rate must add up to 1, not {total:g}")
        return self


class InputConfig(LoginConfig):
    """A further part of the score: one number from a Prometheus, such as the consumers' CPU."""

    prometheus: HttpUrls
    """Address of the Prometheus, such as http://prometheus:9090. Several are tried in turn."""
    query: Query
    """PromQL query that returns one number."""
    target: Target
    """The value that counts as 1, such as 0.8 for 80 % CPU."""
    weight: Ratio
    """Weight in the score, beside those of lag, age and rate."""
    interval: Interval = duration("15s")
    """How often the query runs."""
    tls: TlsConfig = TlsConfig()
    """TLS files for the Prometheus."""


class ScalingConfig(MatchedLine):
    """One line. The first line that matches applies. Without one, nothing is advised."""

    minimum: Limit = 1
    """Smallest number of consumers; 0 lets a subscription without messages have none."""
    maximum: Count = 100
    """Largest number of consumers. The advice is also never above the number of partitions."""
    drain_time: Positive = duration("5m")
    """Time in which the backlog has to be processed."""
    cooldown_out: Positive = duration("1m")
    """Time after a change during which no consumers are added."""
    cooldown_in: Positive = duration("10m")
    """Time after a change during which none are removed. Scaling in follows the highest advice of
    this time.
    """
    weights: WeightsConfig = WeightsConfig()
    """Weights of the score."""
    out_above: Score = 0.8
    """Consumers are added only while the score is above this."""
    in_below: Score = 0.6
    """Consumers are removed only while the score is below this."""
    hold_large_messages: Switch = False
    """Whether not to add consumers while large messages are the likely cause of the backlog."""
    inputs: tuple[InputConfig, ...] = ()
    """Further parts of the score, each from a PromQL query."""

    @model_validator(mode="after")
    def _limits(self) -> Self:
        if self.minimum > self.maximum:
            raise fault(f"minimum {self.minimum} is above maximum {self.maximum}")
        if self.in_below >= self.out_above:
            raise fault("in_below must be smaller than out_above")
        return self


ScalingLines = Annotated[tuple[ScalingConfig, ...], BeforeValidator(checked_lines)]
