"""Parses YAML text into nodes with line numbers. Errors do not quote the text."""

from __future__ import annotations

import re

import yaml

from exporter.config.errors import ConfigError, Fault

MAX_DEPTH = 50
"""Maximum depth of a file; this config has six levels."""
MAX_NODES = 100_000
"""Maximum number of values in a file. Each use of an alias counts: a few lines can expand to
billions of values.
"""
TAG = "tag:yaml.org,2002:"

_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_HARMLESS = re.compile(r"<[a-z ]+>|[^\w\s]")
"""Text that may be quoted: the parser's token names, and punctuation."""
_SAID = {
    "undefined alias": "an alias without an anchor; put a value that begins with * in quotes",
    "second occurrence": "duplicate anchor; the name is already used above",
    "'\\t'": "tabs cannot be used for indentation; use spaces",
    "mapping values are not allowed": (
        "a key is not allowed here; check the indentation, and put values that contain `: ` in "
        "quotes"
    ),
    "another document": "a second YAML document begins here; only one is allowed",
    "cannot start any token": "put a value that begins with @, ` or % in quotes",
}
"""Parts of the parser's messages, and their meaning for somebody who writes a config."""


class Loader(yaml.SafeLoader):
    """Chooses types by YAML 1.2's core schema: `yes`, `0x1F` and `12:30` are texts."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - this drops YAML 1.1's types
    _depth = 0
    _nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse documents that would exhaust the stack or take too long."""
        self._depth += 1
        self._nodes += 1
        if self._nodes > 2 * MAX_NODES:  # a key is a node, too
            mark = parent.start_mark if parent is not None else None
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_NODES:,} values", problem_mark=mark)
        if self._depth > MAX_DEPTH:
            mark = parent.start_mark if parent is not None else None
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_DEPTH} levels", problem_mark=mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    Loader.add_implicit_resolver(TAG + _kind, re.compile(f"^(?:{_pattern})$"), _first)


def read_nodes(text: str, name: str) -> yaml.Node | None:
    """Return the root, or None for a file without content.

    Raises `ConfigError` if the text is not YAML.
    """
    unprintable = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if unprintable is not None:
        before = text[: unprintable.start()]
        column = len(before) - before.rfind("\n")
        message = "not valid YAML: a control character is not allowed"
        raise ConfigError(name, [Fault(before.count("\n") + 1, "", message, column)])
    fault = None
    try:
        return Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        fault = _fault(error, text)
    except (ValueError, OverflowError):
        # An escape such as "\\UFFFFFFFF" raises this. The parser does not say where it is.
        message = "not valid YAML: a \\U escape in double quotes is not a Unicode character"
        fault = Fault(0, "", message)
    # Raised here, so that the parser's error, which quotes the file, is not attached to it.
    raise ConfigError(name, [fault])


def _fault(error: yaml.MarkedYAMLError, text: str) -> Fault:
    mark = error.problem_mark or error.context_mark
    if _is_open_quote(error):
        mark = error.context_mark
    if mark is None:
        return Fault(0, "", f"not valid YAML: {_problem(error, '')}")
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    return Fault(mark.line + 1, "", f"not valid YAML: {_problem(error, line)}", mark.column + 1)


def _is_open_quote(error: yaml.MarkedYAMLError) -> bool:
    context, problem = error.context or "", error.problem or ""
    return "quoted scalar" in context and "end of stream" in problem


def _problem(error: yaml.MarkedYAMLError, line: str) -> str:
    problem = error.problem or error.context or "syntax error"
    if _is_open_quote(error):
        return "this quote is not closed"
    for part, said in _SAID.items():
        if part in problem:
            return said
    problem = _QUOTED.sub(_only_harmless, problem)
    if "${" in line:
        problem += '; inside { } or [ ], write "${NAME}" with quotes'
    return problem


def _only_harmless(match: re.Match[str]) -> str:
    inner = match[1] if match[1] is not None else match[2]
    return match[0] if _HARMLESS.fullmatch(inner) else "…"
