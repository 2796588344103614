"""Finds the parts of a source that crash the process which asks for them.

A client library may abort its process on a response that it cannot parse. The daemon starts another
process, which must not ask for the same part again. So a process notes what it is about to ask for.
If it crashes, the daemon halves that set until one part is left. This part is then left out for
some time and counted as a problem.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

LEFT_OUT_SECONDS = 3600.0
"""How long a part is left out after it crashed two processes."""
STRIKES = 2
"""Number of processes that must have crashed while they asked for one part alone. One crash may be
chance.
"""


class Suspicion(NamedTuple):
    """What is known about one suspected part."""

    together: int
    """Largest number of parts, including this one, to ask for in one batch; 0 if it is left out."""
    until: float = 0.0
    """End of the time for which the part is left out (monotonic clock). After that it is asked for
    alone.
    """


class Attempt(NamedTuple):
    """The parts that a thread of the process is about to ask for.

    Empty when it has the response.
    """

    thread: int
    parts: Sequence[str]


class Plan(NamedTuple):
    """How to ask for a set of parts."""

    batches: Sequence[Sequence[str]]
    left_out: Sequence[str]


@dataclass(frozen=True, slots=True)
class Hazards:
    """The suspected parts that a process knows of, and how it notes what it asks for."""

    suspicions: Mapping[str, Suspicion] = field(default_factory=dict)
    note: Callable[[Attempt], None] | None = None

    def plan(self, parts: Iterable[str], size: int, now: float) -> Plan:
        """Divide the parts into batches of at most `size`.

        Suspected parts come last, in smaller batches.
        """
        by_size: dict[int, list[str]] = {size: []}
        left_out = []
        for part in parts:
            suspicion = self.suspicions.get(part)
            if suspicion is None:
                by_size[size].append(part)
            elif suspicion.together or now >= suspicion.until:
                by_size.setdefault(min(suspicion.together or 1, size), []).append(part)
            else:
                left_out.append(part)
        batches = [
            chosen[first : first + together]
            for together, chosen in sorted(by_size.items(), reverse=True)
            for first in range(0, len(chosen), together)
        ]
        return Plan(batches, left_out)

    @contextmanager
    def asking(self, parts: Sequence[str]) -> Iterator[None]:
        """Note that this thread asks for the parts, and on exit that it has its response."""
        if self.note is None:
            yield
            return
        thread = threading.get_ident()
        self.note(Attempt(thread, tuple(parts)))
        try:
            yield
        finally:
            self.note(Attempt(thread, ()))


class Suspects:
    """What the daemon learns from processes that crashed."""

    def __init__(self) -> None:
        self._known: dict[str, Suspicion] = {}
        self._strikes: dict[str, int] = {}
        self.lessons = 0
        """Number of crashes from which something was learned."""

    @property
    def known(self) -> Mapping[str, Suspicion]:
        """The suspicions to pass to the next process."""
        return dict(self._known)

    def learn(self, attempts: Iterable[Sequence[str]], now: float) -> list[str]:
        """Learn from what a process asked for when it crashed.

        Return the parts that are now left out.
        """
        condemned = []
        for parts in attempts:
            self.lessons += 1
            half = (len(parts) + 1) // 2
            for part in parts:
                if len(parts) > 1:
                    known = self._known.get(part)
                    together = min(half, known.together) if known and known.together else half
                    self._known[part] = Suspicion(together)
                    continue
                self._strikes[part] = self._strikes.get(part, 0) + 1
                if self._strikes[part] < STRIKES:
                    self._known[part] = Suspicion(1)
                else:
                    self._known[part] = Suspicion(0, now + LEFT_OUT_SECONDS)
                    condemned.append(part)
        return condemned
