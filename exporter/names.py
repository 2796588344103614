"""Which names are wanted, by regular expressions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class NameMatcher:
    """Names that an `include` matches whole, and no `exclude`; `.` matches a newline too."""

    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()

    @cached_property
    def _compiled(self) -> tuple[tuple[re.Pattern[str], ...], ...]:
        # One by one: joined into one pattern, numbered groups and flags would mean something else.
        return tuple(
            tuple(re.compile(pattern, re.DOTALL) for pattern in patterns)
            for patterns in (self.include, self.exclude)
        )

    def allows(self, name: str) -> bool:
        """Tell whether the name is wanted."""
        include, exclude = self._compiled
        return any(p.fullmatch(name) for p in include) and not any(
            p.fullmatch(name) for p in exclude
        )


EVERYTHING = NameMatcher((".*",))
NOTHING = NameMatcher(())
