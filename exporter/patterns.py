r"""Regular expressions of the config, matched in linear time: no name can make a match take long.

The syntax is RE2's (https://github.com/google/re2/wiki/Syntax). It has no look-around and no back
references, which make other engines backtrack. `\d`, `\w` and `\s` are ASCII.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import re2

_LOOKS_LIKE_GLOB = re.compile(r"(?!.*[\\^$|()\[\]{}+])(?:.*[^.*?])?[*?].*", re.DOTALL)
"""Only characters of names and wildcards, and a wildcard that does not follow a dot."""
_SPECIAL = re.compile(r"[\\^$.|?*+()\[\]{}]")

LONGEST = 4_096
"""Largest number of characters in a pattern."""


class PatternError(ValueError):
    """An invalid pattern. The message says why."""


class NamePattern:
    """A compiled pattern. `.` also matches a newline."""

    def __init__(self, text: str) -> None:
        """Raise `PatternError` if the pattern is invalid or too large."""
        if len(text) > LONGEST:
            raise PatternError(f"longer than {LONGEST} characters")
        options = re2.Options()
        options.dot_nl = True
        options.log_errors = False
        self.text = text
        try:
            self._compiled = re2.compile(_legal(text), options)
        except re2.error as error:
            raise PatternError(_reason(error)) from None

    def matches(self, name: str) -> bool:
        """Return whether the pattern matches the whole name."""
        return self._compiled.fullmatch(_legal(name)) is not None


class LabelPatterns:
    """Patterns by label, which must all match the label's whole value."""

    def __init__(self, patterns: Mapping[str, str]) -> None:
        """Raise `PatternError` if a pattern is invalid or too large."""
        self.labels = patterns.keys()
        self._compiled = [(label, NamePattern(text)) for label, text in patterns.items()]

    def matches(self, values: Mapping[str, str | None]) -> bool:
        """Return whether all patterns match. A label that does not apply counts as empty."""
        return all(pattern.matches(values[label] or "") for label, pattern in self._compiled)


def labels_of_subscription(
    system: str, source: str, vhost: str | None, destination: str, group: str | None
) -> dict[str, str | None]:
    """Return the labels of a subscription by name, for `LabelPatterns`."""
    return {
        "system": system,
        "source": source,
        "vhost": vhost,
        "destination": destination,
        "group": group,
    }


def escaped(name: str) -> str:
    """Return the pattern that matches only this name."""
    return _SPECIAL.sub(r"\\\g<0>", name)


def meant_by_glob(text: str) -> str | None:
    """Return the regular expression that a glob such as `billing-*` or `*.dlq` stands for.

    None if the text does not look like a glob. A text that looks like one may be a valid regular
    expression: `billing-*` matches "billing-" and "billing--".
    """
    if len(text) > LONGEST or not _LOOKS_LIKE_GLOB.fullmatch(text):
        return None
    parts = re.split(r"([*]+|[?])", text)
    return "".join(
        escaped(part) if index % 2 == 0 else "." if part == "?" else ".*"
        for index, part in enumerate(parts)
    )


def _legal(text: str) -> str:
    """Return the text without lone surrogates, which have no UTF-8 form."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _reason(error: Exception) -> str:
    said = error.args[0] if error.args else b""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    if text.startswith("invalid perl operator: (?"):
        return (
            f"{text.removeprefix('invalid perl operator: ')} is not supported; to leave names out, "
            "use `exclude`"
        )
    if text.startswith("invalid escape sequence: \\") and text[-1:].isdigit():
        return "back references are not supported"
    return text
