"""The last advice for each subscription, in memory: for KEDA, which asks from other threads."""

from __future__ import annotations

import difflib
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

NEAREST = 3
"""Number of similar names in an error."""


class Place(NamedTuple):
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


class AdviceBoard:
    """Holds the advice of all sources. Thread-safe; every call returns at once, except `wait`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._sources: dict[str, Mapping[Place, Published]] = {}
        self._version = 0

    def publish(self, source: str, advice: Mapping[Place, Published]) -> None:
        """Replace what is known of a source."""
        with self._changed:
            self._sources[source] = dict(advice)
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
            known = {
                place: each for found in self._sources.values() for place, each in found.items()
            }
        asked = (source, vhost, destination, group)
        matches = [
            place
            for place in known
            if all(
                not want or want == (have or "") for want, have in zip(asked, place, strict=True)
            )
        ]
        if len(matches) > 1:
            listed = "; ".join(sorted(map(str, matches))[:NEAREST])
            raise NoAdviceError(f"{len(matches)} subscriptions match, such as {listed}; name one")
        if not matches:
            raise NoAdviceError(_unknown(asked, list(known)))
        found = known[matches[0]]
        if self._clock() >= found.valid_until:
            raise BlindError(
                f"{matches[0]} could not be read lately; the last advice was "
                f"{found.consumers} consumers"
            )
        return found

    def wait(self, version: int, timeout: float) -> int:
        """Wait until something is published after `version`; return the present version.

        Returns the same version after `timeout` seconds without a change.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._version != version, timeout)
            return self._version


def _unknown(asked: tuple[str, str, str, str], known: list[Place]) -> str:
    source, vhost, destination, group = asked
    wanted = ", ".join(
        f"{label} {value!r}"
        for label, value in (
            ("source", source),
            ("vhost", vhost),
            ("destination", destination),
            ("group", group),
        )
        if value
    )
    text = f"no subscription with {wanted or 'any name'} has advice; "
    if not known:
        return text + "no subscription matches a line of `scaling` in the exporter's config yet"
    names = {"\n".join(part or "" for part in place): place for place in known}
    near = difflib.get_close_matches("\n".join(asked), names, NEAREST, 0.0)
    return text + "nearest: " + "; ".join(str(names[each]) for each in near)
