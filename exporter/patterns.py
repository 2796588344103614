r"""Regular expressions of the config, matched in linear time: no name can make a match take long.

The syntax is RE2's (https://github.com/google/re2/wiki/Syntax). It has no look-around and no back
references, which make other engines backtrack. `\d`, `\w` and `\s` are ASCII.
"""

from __future__ import annotations

import re2

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
