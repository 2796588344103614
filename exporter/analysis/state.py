"""What a source asks of its state, whichever kind its destinations are: logs or queues."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from exporter.analysis.families import Family, Shown, View
from exporter.analysis.history import History
from exporter.analysis.nodes import Node
from exporter.analysis.rows import PLAIN, Named, Wanted
from exporter.judgement.cadence import CommitGaps
from exporter.judgement.evidence import Evidence
from exporter.judgement.judge import Judge
from exporter.model import COMMON_WORDS, Method, Observation, Words


@dataclass(frozen=True, slots=True)
class StateSettings:
    """What the config of a source says about its state."""

    rate_window: float
    """Seconds."""
    latency_limit: int = 1_000
    """Subscriptions with a latency histogram, where the state chooses them."""
    latency_group: Callable[[str], bool] = lambda _: False
    """Whether a group has a latency histogram in any case."""
    method: Method | None = None
    """How ages are found; None chooses the best one for each place."""
    words: Words = COMMON_WORDS
    """What the users of the system call things."""


class Accepted(NamedTuple):
    """What an observation has changed."""

    backlog: bool = False
    """What `show` and `rows` return."""
    ages: bool = False
    """What `show_ages` returns."""
    read_at: float | None = None
    """When the backlog was read, if it was read."""


NOTHING_CHANGED = Accepted()


class Subscription(Protocol):
    """What judging needs of a subscription of either kind."""

    @property
    def label(self) -> str: ...
    @property
    def gaps(self) -> CommitGaps: ...
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


class SourceState(Protocol):
    """Everything known of one source. Not thread-safe: its owner holds a lock around each call."""

    @property
    def rate_window(self) -> float:
        """Seconds over which rates are taken."""
        ...

    @property
    def nodes(self) -> Mapping[str, Node]: ...

    @property
    def warnings(self) -> Sequence[str]:
        """Alarms and notices of the brokers."""
        ...

    @property
    def generation(self) -> int:
        """Grows whenever a subscription is gone whose ages are shown apart from the backlog."""
        ...

    @property
    def judged(self) -> Iterator[Subscription]:
        """The subscriptions that are judged."""
        ...

    def configure(self, settings: StateSettings) -> None:
        """Use other settings from now on."""
        ...

    def reselect(self) -> None:
        """Other destinations or groups are selected: what the next polls leave out was not lost."""
        ...

    def accept(self, observation: Observation, now: float, hold: float) -> Accepted:
        """Take an observation; `hold` is for how many seconds an unknown value keeps its last one."""
        ...

    def evidence(
        self, now: float, clock: float, hold: float
    ) -> Iterator[tuple[Subscription, Evidence]]:
        """Return what is known of each subscription that was read at `now`; `clock` is in Unix time."""
        ...

    def show(self, view: View, now: float) -> Shown:
        """Return the series of the backlog."""
        ...

    def show_ages(self, view: View) -> Sequence[Family]:
        """Return the series of the ages, where another task than the backlog's finds them."""
        ...

    def rows(
        self, source: Named, view: View, now: float, wanted: Wanted = PLAIN
    ) -> list[dict[str, Any]]:
        """Return a row for each subscription that is shown and wanted, JSON-ready."""
        ...
