"""A fuzz target, and its inputs: the corpus, mutations of it, and the target's grammar."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CORPUS = Path(__file__).with_name("corpus")
CPU_SECONDS = 5.0
"""Seconds of CPU for one input, in the thread that parses it. More could keep the daemon busy."""
LONGEST = 60_000
"""Bytes of an input. What is sent through a socket pair must fit its buffer."""
FAULTS = frozenset({"error", "critical"})

TOKENS = (
    *(
        b"\0",
        b"\xff" * 4,
        b"\xff\xff\xff\x7f",
        b"\x80" * 5,
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
    ),
    *(
        b"null",
        b"true",
        b'"7"',
        b"-1",
        b"1.5",
        b"1e999",
        b"NaN",
        b"9" * 400,
        b"9223372036854775808",
    ),
    *(
        b'"\\ud800"',
        b"[]",
        b"{}",
        b"[" * 400,
        b'{"a":' * 400,
        b'"',
        b"'",
        b":",
        b"- ",
        b"%",
        b"&",
        b"=",
    ),
    *(
        b"\xed\xa0\x80",
        b"\xf0\x9f\x99\x82",
        b"\xef\xbb\xbf",
        b"../" * 9,
        b"http://",
        b"*a ",
        b"&a ",
    ),
)
"""What a mutation inserts, besides random bytes."""

Mutation = tuple[str, int, int, bytes]


@dataclass(frozen=True, slots=True)
class Target:
    """A parser under test."""

    name: str
    feed: Callable[[bytes], None]
    """Parses an input. Raises only if the result is wrong."""
    grammar: st.SearchStrategy[bytes]
    """Inputs that look like real ones."""
    examples: int = 60
    """Number of inputs in a run of the unit tests."""
    quiet: bool = True
    """Whether an error in the log is a fault too."""

    elsewhere: tuple[Path, ...] = ()
    """Other files of the repository that belong to the corpus."""

    @property
    def corpus(self) -> list[bytes]:
        """Return the inputs of the corpus, ordered by name."""
        found = sorted((CORPUS / self.name).glob("*"))
        return [path.read_bytes() for path in (*found, *self.elsewhere)]

    def check(self, data: bytes) -> None:
        """Feed one input.

        Raises whatever the parser raises, and `AssertionError` if it takes long or logs an error.
        """
        began = time.thread_time()
        with structlog.testing.capture_logs() as events:
            self.feed(data)
        took = time.thread_time() - began
        assert took < CPU_SECONDS, f"{took:.1f} s of CPU for {len(data)} bytes"
        faults = [event for event in events if event["log_level"] in FAULTS]
        assert not (self.quiet and faults), faults

    def run(self, examples: int | None = None) -> None:
        """Feed random inputs. Raises what `check` raises, for the smallest input that was found."""
        corpus = self.corpus
        # Inputs are chosen by number: hypothesis would print all of them with a failure.
        numbers = st.integers(0, len(corpus) - 1)
        inputs = self.grammar | mutated(numbers.map(corpus.__getitem__) | self.grammar)
        bounded = inputs.map(lambda data: data[:LONGEST])

        @settings(
            max_examples=self.examples if examples is None else examples,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(bounded)
        def feed_all(data: bytes) -> None:
            self.check(data)

        feed_all()


def mutated(inputs: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Return inputs with up to five changes."""
    changes = st.tuples(
        st.sampled_from(("insert", "replace", "delete", "repeat", "cut")),
        st.integers(0, LONGEST),
        st.integers(1, 40),
        st.sampled_from(TOKENS) | st.binary(max_size=6),
    )
    return st.builds(_changed, inputs, st.lists(changes, min_size=1, max_size=5))


def _changed(data: bytes, mutations: list[Mutation]) -> bytes:
    for what, where, size, token in mutations:
        at = where % (len(data) + 1)
        if what == "insert":
            data = data[:at] + token + data[at:]
        elif what == "replace":
            data = data[:at] + token + data[at + len(token) :]
        elif what == "delete":
            data = data[:at] + data[at + size :]
        elif what == "repeat":
            data = data[:at] + data[at : at + size] * size + data[at + size :]
        else:
            data = data[:at]
    return data


# JSON


HUGE = 10**400
ODD: list[Any] = [HUGE, -HUGE, 2**63, 2**63 - 1, -5, "7", True, False, 1.5, 1e300]
ODD += [float("inf"), float("nan"), "", "\ud800", "a\0b", [], {}, None, 10**30, "first", 0, 7]
VALUES = st.sampled_from(ODD) | st.integers() | st.floats() | st.text(max_size=5)
JSON: st.SearchStrategy[Any] = st.recursive(
    VALUES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
COUNT = st.integers(0, 10**6)


def rows_like(**fields: st.SearchStrategy[Any] | Any) -> st.SearchStrategy[Any]:
    """Objects with some of the fields that a parser reads, with valid or invalid values."""
    known = {
        name: (value if isinstance(value, st.SearchStrategy) else st.just(value)) | VALUES | JSON
        for name, value in fields.items()
    }
    sound = {
        name: value if isinstance(value, st.SearchStrategy) else st.just(value)
        for name, value in fields.items()
    }
    return st.fixed_dictionaries({}, optional=known) | st.fixed_dictionaries(sound) | JSON


def in_bytes(values: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Return the values as JSON."""
    return values.map(lambda value: json.dumps(value).encode())
