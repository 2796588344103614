"""Regular expressions of the config: whole names, in linear time, and what is refused."""

from __future__ import annotations

import time

import pytest

from exporter.judgement.thresholds import ThresholdLine, ThresholdTable
from exporter.name_filter import NameMatcher
from exporter.patterns import LONGEST, NamePattern, PatternError, escaped, meant_by_glob

BACKTRACKS = r"([a-z]+-?)+\.dlq"
"""Takes an engine that backtracks longer than the age of the universe on the name below."""
HOSTILE = "a" * 200


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("billing-.*", "billing-eu", True),
        ("billing", "billing-eu", False),
        ("eu", "billing-eu", False),
        ("a.b", "a\nb", True),
        (".*", "\0", True),
        (".*", "fish \U0001f41f", True),
        (".*", "half \ud800", True),
        ("", "", True),
        ("(?i)ORDERS", "orders", True),
    ],
)
def test_a_pattern_matches_whole_names(pattern: str, name: str, matches: bool) -> None:
    assert NamePattern(pattern).matches(name) is matches


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(?!tmp).*", "(?! is not supported; to leave names out, use `exclude`"),
        ("(?<=a)b", "(?<= is not supported; to leave names out, use `exclude`"),
        (r"(.)\1", "back references are not supported"),
        ("[a-z", "missing ]: [a-z"),
        ("a{2000}", "invalid repetition size: {2000}"),
        ("a" * (LONGEST + 1), "longer than 4096 characters"),
    ],
)
def test_what_cannot_be_matched_in_linear_time_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(PatternError) as caught:
        NamePattern(pattern)
    assert str(caught.value) == reason


def test_no_name_makes_a_pattern_run_for_long() -> None:
    """It takes some microseconds; the limit is generous for a busy machine."""
    began = time.monotonic()
    assert not NameMatcher((BACKTRACKS,)).allows(HOSTILE)
    table = ThresholdTable([ThresholdLine({"destination": BACKTRACKS}, {"lag_messages": 1})])
    found = table.of_subscription("rabbitmq", "jobs", "/", HOSTILE, None)
    assert found.lag_messages == 1_000
    assert time.monotonic() - began < 10


# Globs


@pytest.mark.parametrize(
    ("glob", "pattern"),
    [
        ("billing-*", "billing-.*"),
        ("*.dlq", r".*\.dlq"),
        ("*", ".*"),
        ("a**", "a.*"),
        ("*.orders.*", r".*\.orders\..*"),
        ("log-?", "log-."),
        ("orders/*/v1", "orders/.*/v1"),
    ],
)
def test_a_glob_is_recognized_and_translated(glob: str, pattern: str) -> None:
    assert meant_by_glob(glob) == pattern
    NamePattern(pattern)


@pytest.mark.parametrize(
    "text", ["billing-.*", ".*", "", "billing", r"a\*", "(a|b)*", "[a-z]*", "a+b*", "a.?", "x{2}*"]
)
def test_other_patterns_are_no_globs(text: str) -> None:
    assert meant_by_glob(text) is None


@pytest.mark.parametrize("name", ["a.b", "a+(b)", r"a\d", "[a]{2}^$|?*", "ü-🐟\n"])
def test_an_escaped_name_matches_itself_only(name: str) -> None:
    assert NamePattern(escaped(name)).matches(name)
    assert not NamePattern(escaped(name)).matches(name.replace(".", "x") + "x")
