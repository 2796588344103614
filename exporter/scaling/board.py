"""The last advice for each subscription, in memory: for KEDA, which asks from other threads."""

from __future__ import annotations

import difflib
import threading
import time
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from typing import NamedTuple

NEAREST = 3
"""Number of similar names in an error."""
COMPARED = 200
"""Number of subscriptions that are compared to find similar names. Each takes about 0.1 ms."""
COMPARED_CHARACTERS = 200
"""Length of the part of a name that is compared."""

Given = list[tuple[int, str]]
"""The names to find: the index of the field in `SubscriptionName`, and the name."""


class SubscriptionName(NamedTuple):
    """The names of a subscription."""

    source: str
    vhost: str | None
    destination: str
    group: str | None

    def __str__(self) -> str:
        """Return the names for people."""
        names = [f"source {self.source!r}"]
        if self.vhost is not None:
            names.append(f"vhost {self.vhost!r}")
        names.append(f"destination {self.destination!r}")
        if self.group is not None:
            names.append(f"group {self.group!r}")
        return ", ".join(names)


class Published(NamedTuple):
    """The advice for one subscription."""

    consumers: int
    active: bool
    """Whether any message waits or the advice is above zero."""
    reason: str
    """One sentence for people."""
    valid_until: float
    """On the clock of `time.monotonic`. Afterwards nothing is known."""


class NoAdviceError(LookupError):
    """No subscription has these names. The text lists similar ones."""


class BlindError(Exception):
    """The subscription could not be read lately, so there is no valid advice."""


class _Known:
    """The advice of one source, and an index from each name to its subscriptions."""

    def __init__(self, advice: Mapping[SubscriptionName, Published]) -> None:
        self.advice = dict(advice)
        self._having: dict[tuple[int, str], list[SubscriptionName]] = {}
        for place in self.advice:
            for field, name in enumerate(place):
                if name:
                    self._having.setdefault((field, name), []).append(place)

    def matches(self, given: Given) -> Collection[SubscriptionName]:
        """Return the subscriptions that have all these names."""
        fewest = min((self._having.get(each, []) for each in given), key=len, default=None)
        if fewest is None:
            return self.advice
        return [place for place in fewest if all(place[field] == name for field, name in given)]

    def similar(self, given: Given) -> Collection[SubscriptionName]:
        """Return the subscriptions that have the rarest of these names, or all if none has any."""
        found = [self._having[each] for each in given if each in self._having]
        return min(found, key=len, default=self.advice)


class AdviceBoard:
    """Holds the advice of all sources. Thread-safe; every call returns at once, except `wait`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._sources: dict[str, _Known] = {}
        self._version = 0

    def publish(self, source: str, advice: Mapping[SubscriptionName, Published]) -> None:
        """Replace what is known of a source."""
        known = _Known(advice)
        with self._changed:
            self._sources[source] = known
            self._version += 1
            self._changed.notify_all()

    def withdraw(self, source: str) -> None:
        """Remove a source."""
        with self._changed:
            self._sources.pop(source, None)
            self._version += 1
            self._changed.notify_all()

    def find(
        self, source: str, destination: str = "", group: str = "", vhost: str = ""
    ) -> Published:
        """Return the advice for the one subscription with these names. Empty matches any name.

        Raises `NoAdviceError` if there is none or more than one, `BlindError` if it is outdated.
        """
        with self._changed:
            sources = list(self._sources.values())
        given = [(n, name) for n, name in enumerate((source, vhost, destination, group)) if name]
        matches = {
            place: known.advice[place] for known in sources for place in known.matches(given)
        }
        if len(matches) > 1:
            listed = "; ".join(map(str, islice(matches, NEAREST)))
            raise NoAdviceError(f"{len(matches)} subscriptions match, such as {listed}; name one")
        if not matches:
            raise NoAdviceError(_unknown(given, sources))
        [(place, found)] = matches.items()
        if self._clock() >= found.valid_until:
            raise BlindError(
                f"{place} could not be read lately; the last advice was {found.consumers} consumers"
            )
        return found

    def wait(self, version: int, timeout: float) -> int:
        """Wait until something is published after `version`; return the present version.

        Returns the same version after `timeout` seconds without a change.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._version != version, timeout)
            return self._version


def _unknown(given: Given, sources: list[_Known]) -> str:
    labels = SubscriptionName._fields
    wanted = ", ".join(f"{labels[field]} {name!r}" for field, name in given)
    text = f"no subscription with {wanted or 'any name'} has advice; "
    known = [known for known in sources if known.advice]
    if not known:
        return text + "no subscription matches a line of `scaling` in the exporter's config yet"
    # Those that share a name come first, because the number that is compared is limited.
    similar = sorted((each.similar(given) for each in known), key=len)
    places = islice((place for each in similar for place in each), COMPARED)
    names = {"\n".join(_compared(place)): place for place in places}
    asked = dict(given)
    wanted = "\n".join(_compared([asked.get(field) for field in range(len(labels))]))
    near = difflib.get_close_matches(wanted, names, NEAREST, 0.0)
    return text + "nearest: " + "; ".join(str(names[each]) for each in near)


def _compared(names: Collection[str | None]) -> list[str]:
    return [(name or "")[:COMPARED_CHARACTERS] for name in names]
