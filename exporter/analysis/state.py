"""The interface between a source and its state, the same for logs and queues."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from exporter.analysis.families import Family, Shown, View
from exporter.analysis.history import History
from exporter.analysis.nodes import Node
from exporter.analysis.rows import PLAIN, Named, Wanted
from exporter.analysis.scaled import Scaled
from exporter.judgement.commit_gaps import CommitGaps
from exporter.judgement.evidence import Evidence
from exporter.judgement.judge import Judge
from exporter.model import COMMON_WORDS, Method, Observation, Words


@dataclass(frozen=True, slots=True)
class StateSettings:
    """The settings of a source that its state uses."""

    rate_window: float
    """Seconds."""
    latency_limit: int = 1_000
    """Maximum number of subscriptions with a latency histogram, if the state chooses them."""
    latency_group: Callable[[str], bool] = lambda _: False
    """Returns whether a group has a latency histogram regardless of the limit."""
    method: Method | None = None
    """How ages are determined; None chooses the best method for each place."""
    words: Words = COMMON_WORDS
    """The terms of the system."""


class Accepted(NamedTuple):
    """Which results an observation has changed."""

    backlog: bool = False
    """The results of `show` and `rows`."""
    ages: bool = False
    """The result of `show_ages`."""
    read_at: float | None = None
    """When the backlog was read; None if this observation is not a backlog."""


NOTHING_CHANGED = Accepted()


class Subscription(Protocol):
    """The part of a subscription that judging uses."""

    @property
    def label(self) -> str: ...
    @property
    def commit_gaps(self) -> CommitGaps: ...
    @property
    def judge(self) -> Judge: ...
    @property
    def history(self) -> History: ...
    @property
    def group(self) -> str | None: ...
    @property
    def vhost(self) -> str | None: ...
    @property
    def destination(self) -> str: ...

    scaled: Scaled | None
    """The scaling advice; None if nothing is advised."""


class SourceState(Protocol):
    """Everything known about one source. Not thread-safe: the owner locks around each call."""

    @property
    def rate_window(self) -> float:
        """Seconds over which rates are computed."""
        ...

    @property
    def nodes(self) -> Mapping[str, Node]: ...

    @property
    def warnings(self) -> Sequence[str]:
        """Alarms and notices of the brokers."""
        ...

    @property
    def generation(self) -> int:
        """Increases when a subscription is dropped whose ages are shown separately."""
        ...

    @property
    def judged(self) -> Iterator[Subscription]:
        """The subscriptions that are judged."""
        ...

    def configure(self, settings: StateSettings) -> None:
        """Use other settings from now on."""
        ...

    def reselect(self) -> None:
        """Other destinations or groups were selected: what the next polls lack is not lost."""
        ...

    def accept(self, observation: Observation, now: float, hold: float) -> Accepted:
        """Add an observation. An unknown value keeps its last one for `hold` seconds."""
        ...

    def evidence(
        self, now: float, clock: float, hold: float
    ) -> Iterator[tuple[Subscription, Evidence]]:
        """Return the facts about each subscription read at `now`; `clock` is that Unix time."""
        ...

    def show(self, view: View, now: float) -> Shown:
        """Return the series of the backlog."""
        ...

    def show_ages(self, view: View) -> Sequence[Family]:
        """Return the series of the ages if a task other than the backlog's determines them."""
        ...

    def rows(
        self, source: Named, view: View, now: float, wanted: Wanted = PLAIN
    ) -> list[dict[str, Any]]:
        """Return a JSON-ready row for each exposed subscription that `wanted` includes."""
        ...
