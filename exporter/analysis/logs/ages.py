"""Age of one subscription's backlog by partition, and the error bound of the largest age."""

from __future__ import annotations

import math
from collections.abc import Sequence

from exporter.model import Method, Stamps

MILLI = 1000.0
ROUNDING = 0.0005
"""Seconds of error because ages are rounded to milliseconds."""


class Ages:
    """The ages of the last poll of enqueue times. Unknown ages keep their value for a while."""

    __slots__ = (
        "_from",
        "_partitions",
        "_unknown_since",
        "labels",
        "method",
        "uncertainty",
        "values",
    )

    def __init__(self) -> None:
        self._partitions: Sequence[int] = ()
        self._unknown_since: dict[int, float] = {}
        self._from: tuple[Stamps, Sequence[int | None]] | None = None
        """The stamps and the lags that all ages were computed from; None if there were others."""
        self.labels: Sequence[str] = ()
        """Label texts of the partitions, in the order of `values`."""
        self.values: list[float | None] = []
        """Seconds by partition; None if unknown."""
        self.uncertainty: float | None = None
        """Upper bound in seconds on the error of the largest age; None if unknown."""
        self.method: Method | None = None

    def set_times(
        self,
        partitions: Sequence[int],
        labels: Sequence[str],
        lags: Sequence[int | None],
        stamps: Stamps | None,
        *,
        at: float,
        now: float,
        hold: float,
    ) -> None:
        """Compute the ages from one poll of enqueue times.

        `partitions`, `labels` and `lags` have the same order. If a lag is unknown, so is its age.
        `at` is the Unix time of the positions, `now` the monotonic time. An unknown age keeps its
        value for `hold` seconds.
        """
        known = self._from
        if (
            known is not None
            and known[0] is stamps
            and known[1] == lags
            and partitions is self._partitions
        ):
            # Nothing has moved: all of them are older by the same time, so the bound is the same.
            self.values = _rounded(_ages(lags, stamps, at))
            self.labels = labels
            return
        self._from = None
        if stamps is not None and (self.method is None or any(lags)):
            # Without lag nothing was looked up. The series should not come and go with the lag.
            self.method = stamps.method
        if not any(lags):
            self.values = [None if lag is None else 0.0 for lag in lags]
            self.uncertainty = None if None in lags or not lags else 0.0
            self._unknown_since.clear()
        elif stamps is not None and stamps.partitions == partitions:
            self._whole(lags, stamps, at)
        else:
            self._in_part(partitions, lags, stamps, at=at, now=now, hold=hold)
        self._partitions, self.labels = partitions, labels

    def largest(self) -> float | None:
        """Return the age of the oldest unread message; None if the age of any partition is."""
        known = [value for value in self.values if value is not None]
        return max(known) if known and len(known) == len(self.values) else None

    def by_partition(self) -> dict[int, float | None]:
        """Return partition to age in seconds; None if unknown."""
        return dict(zip(self._partitions, self.values, strict=True))

    def _whole(self, lags: Sequence[int | None], stamps: Stamps, at: float) -> None:
        """Compute the ages if there is a stamp for each partition."""
        if self._unknown_since:
            self._unknown_since.clear()
        ages = _ages(lags, stamps, at)
        self._bound(ages, stamps.errors, lags)
        self.values = _rounded(ages)
        if all(time <= at for lag, time in zip(lags, stamps.times, strict=True) if lag):
            self._from = (stamps, list(lags))

    def _in_part(
        self,
        partitions: Sequence[int],
        lags: Sequence[int | None],
        stamps: Stamps | None,
        *,
        at: float,
        now: float,
        hold: float,
    ) -> None:
        before = dict(zip(self._partitions, self.values, strict=True))
        rows = {} if stamps is None else {p: row for row, p in enumerate(stamps.partitions)}
        values: list[float | None] = []
        errors: list[float] = []
        for partition, lag in zip(partitions, lags, strict=True):
            row = rows.get(partition)
            error = 0.0
            if not lag:
                value: float | None = None if lag is None else 0.0
            elif stamps is not None and row is not None:
                value, error = round(_age(at, stamps.times[row]), 3), stamps.errors[row]
            else:
                since = self._unknown_since.setdefault(partition, now)
                value, error = before.get(partition) if now - since <= hold else None, -1.0
                values.append(value)
                errors.append(error)
                continue
            self._unknown_since.pop(partition, None)
            values.append(value)
            errors.append(error)
        for partition in [p for p in self._unknown_since if p not in set(partitions)]:
            del self._unknown_since[partition]
        self.values = values
        self._bound(values, errors, lags)

    def _bound(
        self,
        ages: Sequence[float | None],
        errors: Sequence[float],
        lags: Sequence[int | None],
    ) -> None:
        """Set the error bound of the largest age, if the error of each age is known."""
        largest = highest = 0.0
        self.uncertainty = None
        for value, error, lag in zip(ages, errors, lags, strict=True):
            if lag == 0:
                continue
            if value is None or error < 0:
                return
            largest = max(largest, value)
            highest = max(highest, value + error)
        # The true largest age is at least the largest one less its error, so the possible error
        # upwards is at least as large as that downwards.
        self.uncertainty = math.ceil((highest - largest + ROUNDING) * MILLI) / MILLI


def _ages(lags: Sequence[int | None], stamps: Stamps, at: float) -> list[float | None]:
    """Return the ages at `at` if there is a stamp for each partition."""
    return [
        _age(at, time) if lag else (None if lag is None else 0.0)
        for lag, time in zip(lags, stamps.times, strict=True)
    ]


def _age(at: float, time: float) -> float:
    """Return the age at `at` in seconds; 0 for a time in the future."""
    return at - time if at > time else 0.0


def _rounded(ages: Sequence[float | None]) -> list[float | None]:
    """Return the ages, rounded to milliseconds."""
    return [round(age, 3) if age else age for age in ages]
