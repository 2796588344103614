"""The scaling advice of one subscription, as its state keeps it."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.scaling.advisor import Advice, Advisor
from exporter.scaling.board import SubscriptionName
from exporter.scaling.policy import ScalingPolicy


@dataclass(slots=True)
class Scaled:
    """The advice for one subscription, and what it follows."""

    place: SubscriptionName
    label: str
    """Text of the subscription's labels."""
    policy: ScalingPolicy
    advisor: Advisor
    at: float
    """When it was last advised, on the monotonic clock."""
    consumers: int | None = None
    waiting: bool = False
    """Whether messages wait."""

    @property
    def advice(self) -> Advice | None:
        """The last advice; None if there was never enough to advise."""
        return self.advisor.last
