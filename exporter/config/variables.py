"""Environment variables in values: `${NAME}`, `${NAME:-default}`, and `$$` for a dollar."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<stray>\{))"
)


class Substituted(NamedTuple):
    """A value after its variables were replaced."""

    text: str
    used: bool
    """Whether the value names a variable, so that the text may be a secret."""
    problems: tuple[str, ...]
    """Variables that could not be replaced, and why; never a value."""


def substitute(text: str, environ: Mapping[str, str]) -> Substituted:
    """Replace the variables. A single `$` is kept, so that patterns can end with one.

    As in a shell, the default also replaces an empty variable.
    """
    problems: list[str] = []
    used = False

    def value(match: re.Match[str]) -> str:
        nonlocal used
        if match["dollar"]:
            return "$"
        used = True
        if match["stray"]:
            problems.append("`${` without a variable name; write ${NAME}, or $${ for a literal ${")
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
