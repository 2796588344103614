"""Selects names by regular expressions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from exporter.patterns import NamePattern


@dataclass(frozen=True)
class NameMatcher:
    """Matches names that match an `include` pattern and no `exclude` pattern as a whole.

    `.` also matches a newline.
    """

    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()

    @cached_property
    def _compiled(self) -> tuple[tuple[NamePattern, ...], ...]:
        # One by one: joined into one pattern, numbered groups and flags would mean something else.
        return tuple(tuple(map(NamePattern, patterns)) for patterns in (self.include, self.exclude))

    def allows(self, name: str) -> bool:
        """Return whether the name is selected."""
        include, exclude = self._compiled
        return any(p.matches(name) for p in include) and not any(p.matches(name) for p in exclude)


EVERYTHING = NameMatcher((".*",))
NOTHING = NameMatcher(())
