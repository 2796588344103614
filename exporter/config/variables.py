"""Environment variables in values: `${NAME}`, `${NAME:-default}`, and `$$` for a dollar."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<stray>\{))"
)


class Substituted(NamedTuple):
    """A value with its variables put in."""

    text: str
    used: bool
    """Whether a variable was named: the text may be a secret."""
    problems: tuple[str, ...]
    """What could not be put in, and why; never a value."""


def substitute(text: str, environ: Mapping[str, str]) -> Substituted:
    """Put the variables in. A lone `$` stays, so that patterns can end with one.

    As in a shell, the default stands in for a variable that is empty, too.
    """
    problems: list[str] = []
    used = False

    def value(match: re.Match[str]) -> str:
        nonlocal used
        if match["dollar"]:
            return "$"
        used = True
        if match["stray"]:
            problems.append("`${` without a variable; write ${NAME}, or $${ for the text")
            return ""
        name, default = match["name"], match["default"]
        found = environ.get(name)
        if found or (found is not None and default is None):
            return found
        if default is not None:
            return default
        problems.append(
            f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}"
        )
        return ""

    result = _VARIABLE.sub(value, text)
    return Substituted(result, used, tuple(problems))
