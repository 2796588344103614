"""Finds the one subscription that the user named, and its advice in each poll."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from exporter.scale.advice import Missing, Poll, advice_of
from exporter.scale.client import UnreachableError
from exporter.scaling.board import SubscriptionName

LISTED = 5
"""Number of subscriptions in an error."""
SIMILAR = 0.6
"""Least similarity of names, from 0 to 1."""
MOST_ROWS = "5000"
"""Largest number of subscriptions among which similar names are looked for."""
STALE = {"stale": "true"}
"""Includes sources that cannot be read at the moment."""


class SelectionError(Exception):
    """No subscription has the names, or several do. The text lists some."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The names that the user gave. None matches any; an empty one only those without a name."""

    source: str | None = None
    vhost: str | None = None
    destination: str | None = None
    group: str | None = None

    def given(self) -> dict[str, str]:
        """Return the names that were given, by label."""
        names = (self.source, self.vhost, self.destination, self.group)
        labelled = zip(SubscriptionName._fields, names, strict=True)
        return {label: name for label, name in labelled if name is not None}

    def __str__(self) -> str:
        """Return the names for people."""
        return ", ".join(f"{label} {name!r}" for label, name in self.given().items())


class Overviews(Protocol):
    """Where the subscriptions are read."""

    def overview(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the answer to a query. Raises `UnreachableError`."""
        ...


class FollowedSubscription:
    """The advice for one subscription.

    Its names are fixed when it is first found, so that no new one with some of the same names can
    take its place.
    """

    def __init__(self, client: Overviews, selection: Selection, *, patient: bool = False) -> None:
        """With `patient`, a subscription that does not exist yet is waited for."""
        self._patient = patient
        self._client = client
        self._selection = selection
        self.place: SubscriptionName | None = None
        """Its names, once it was found."""

    def poll(self) -> Poll:
        """Return the present advice.

        Raises `SelectionError` if several subscriptions have the names, until one was found, and
        if none has and it is not waited for.
        """
        try:
            if self.place is not None:
                return self._again(self.place)
            return self._first()
        except UnreachableError as error:
            return Missing("unreachable", str(error))

    def _again(self, place: SubscriptionName) -> Poll:
        names = {label: name or "" for label, name in place._asdict().items()}
        rows = self._rows(names)
        if len(rows) != 1:
            return Missing("blind", "the exporter does not show the subscription any more")
        return advice_of(rows[0])

    def _first(self) -> Poll:
        overview = self._client.overview({**STALE, **self._selection.given()})
        rows: list[dict[str, Any]] = overview["subscriptions"]
        if len(rows) == 1:
            self.place = place_of(rows[0])
            return advice_of(rows[0])
        if rows:
            places = [str(place_of(row)) for row in rows]
            raise SelectionError(
                f"{len(rows)} subscriptions match; name one of them:{_list(places)}"
            )
        unread = self._unread(overview["sources"])
        if unread is not None:
            return Missing("blind", unread)
        if self._patient:
            return Missing("blind", self._unknown())
        raise SelectionError(self._unknown())

    def _rows(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._client.overview({**STALE, **query})["subscriptions"]
        return rows

    def _unread(self, sources: Sequence[Mapping[str, Any]]) -> str | None:
        """Return which source may have the subscription and could not be read yet, or None."""
        name = self._selection.source
        if name is not None and all(each.get("source") != name for each in sources):
            return None
        down = [
            each for each in sources if not each.get("up") and name in (None, each.get("source"))
        ]
        if not down:
            return None
        message = down[0].get("message") or "not read yet"
        return f"no such subscription yet; source {down[0].get('source')!r}: {message}"

    def _unknown(self) -> str:
        text = f"no subscription has {self._selection or 'any name'}"
        places = [place_of(row) for row in self._rows({"limit": MOST_ROWS})]
        if not places:
            return f"{text}; the exporter shows no subscription"
        given = self._selection.given()
        likeness = {place: _likeness(given, place) for place in places}
        near = sorted(
            (place for place in places if likeness[place] >= SIMILAR), key=lambda p: -likeness[p]
        )
        if not near and len(places) <= LISTED:
            return f"{text}; the exporter shows:{_list([str(place) for place in places])}"
        if not near:
            return f"{text}; none of the {len(places)} that the exporter shows has a similar name"
        return f"{text}; the most similar are:{_list([str(place) for place in near])}"


def place_of(row: Mapping[str, Any]) -> SubscriptionName:
    """Return the names in a row. Raises `UnreachableError` if it has none."""
    names = [row.get(name) for name in SubscriptionName._fields]
    if not all(name is None or isinstance(name, str) for name in names):
        raise UnreachableError("the answer is not that of an mq-lag-exporter")
    source, vhost, destination, group = names
    if source is None or destination is None:
        raise UnreachableError("the answer is not that of an mq-lag-exporter")
    return SubscriptionName(source, vhost, destination, group)


def _likeness(given: Mapping[str, str], place: SubscriptionName) -> float:
    """Return how similar the names that were given are to those of a subscription."""
    names = place._asdict()
    found = "\n".join(names[label] or "" for label in given)
    return difflib.SequenceMatcher(None, found, "\n".join(given.values())).ratio()


def _list(places: Sequence[str]) -> str:
    shown = "".join(f"\n  {each}" for each in places[:LISTED])
    more = len(places) - LISTED
    return f"{shown}\n  and {more} more" if more > 0 else shown
