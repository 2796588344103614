"""Turns YAML into plain data with the line of every key, and replaces environment variables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from exporter.config.errors import ConfigError, Fault
from exporter.config.variables import Substituted, substitute
from exporter.config.yaml_nodes import MAX_DEPTH, MAX_NODES, TAG, read_nodes

Path = tuple[str | int, ...]

_CLIENT = 4
"""Parts of the path of a client property: `sources`, index, `client`, property."""
_PROPERTY = re.compile(
    r"[a-z0-9_]+(?:\.[a-z0-9_]+)+|[a-z_]+_cb|on_[a-z]+|acks|debug|logger|retries"
)
"""Names of client properties. A key that does not look like one may be a part of an unquoted
password.
"""
_KINDS: Mapping[str, Callable[[str], Any]] = {
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "int": int,
    "float": float,
}


@dataclass(slots=True)
class Document:
    """The data of a file, with the line of each part."""

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    faulty: set[Path] = field(default_factory=set)
    """Values that could not be read. Each already has a fault."""
    substituted: set[Path] = field(default_factory=set)
    """Values that contain an environment variable."""

    def line(self, path: Path) -> int:
        """Return the line of the value at the path, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def is_faulty(self, path: Path) -> bool:
        """Return whether the value, or what it is a part of, could not be read."""
        return any(path[:length] in self.faulty for length in range(len(path) + 1))

    def is_faulty_below(self, path: Path) -> bool:
        """Return whether a part of the value could not be read."""
        return any(faulty[: len(path)] == path for faulty in self.faulty)

    def is_private(self, path: Path) -> bool:
        """Return whether the value may be a secret, so that messages must not show it."""
        return is_client(path) or path in self.substituted


def is_client(path: Path) -> bool:
    """Return whether the path is that of a source's `client`, or leads below it."""
    return len(path) >= _CLIENT - 1 and path[0] == "sources" and path[2] == "client"


def key_text(path: Path) -> str:
    """Write a path such as `sources[0].name`. Below `client` it ends at the property's name."""
    if is_client(path):
        named = len(path) >= _CLIENT and _PROPERTY.fullmatch(str(path[3]))
        path = path[: _CLIENT if named else _CLIENT - 1]
    text = ""
    for part in path:
        text += (
            f"[{part}]"
            if isinstance(part, int)
            else f".{plain_key(part)}"
            if text
            else plain_key(part)
        )
    return text


def plain_key(key: str) -> str:
    """Return a key for a message: on one line and truncated."""
    return key if re.fullmatch(r"[\w.-]{1,100}", key) else ascii(key[:100])


def read_yaml(text: str, name: str, environ: Mapping[str, str]) -> Document:
    """Parse the text. Raises `ConfigError` if it is not YAML; other faults are in the document."""
    document = document_of(text, name, environ, verbatim=is_client)
    if document is None:
        raise ConfigError(name, [Fault(0, "", "the file is empty; it needs a list `sources`")])
    return document


def document_of(
    text: str,
    name: str,
    environ: Mapping[str, str] | None,
    *,
    verbatim: Callable[[Path], bool],
) -> Document | None:
    """Parse the text of any config file; None if it is empty.

    Raises `ConfigError` if it is not YAML.

    Without `environ`, variables are texts like others. Values for whose path `verbatim` holds are
    taken as they are written, whatever they look like.
    """
    node = read_nodes(text, name)
    if node is None:
        return None
    reader = _NodeConverter(environ, verbatim)
    try:
        reader.document.data = reader.value(node, ())
    except _TooMuchError as error:
        raise ConfigError(name, [error.fault]) from None
    return reader.document


class _TooMuchError(Exception):
    """The expanded file is larger than any valid config."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self.fault = fault


class _NodeConverter:
    """Turns YAML nodes into data."""

    def __init__(self, environ: Mapping[str, str] | None, verbatim: Callable[[Path], bool]) -> None:
        self._environ = environ
        self._verbatim = verbatim
        self._nodes = 0
        self.document = Document()

    def value(self, node: yaml.Node, path: Path) -> Any:
        self._count(node, len(path))
        self.document.lines.setdefault(path, _line(node))
        if isinstance(node, yaml.MappingNode) and node.tag == f"{TAG}map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{TAG}seq":
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        return self._no_tags(node, path)

    def _count(self, node: yaml.Node, depth: int) -> None:
        self._nodes += 1
        message = None
        if self._nodes > MAX_NODES:
            message = f"more than {MAX_NODES:,} values, including repetitions by aliases"
        elif depth > MAX_DEPTH:
            message = f"more than {MAX_DEPTH} levels, including those of aliases"
        if message is not None:
            raise _TooMuchError(Fault(_line(node), "", message))

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        """Return the values by key.

        A null value means that the key is not set, except for client properties.
        """
        found = {}
        for key, (key_node, value_node) in self._entries(node, path, len(path)).items():
            here = (*path, key)
            self.document.lines[here] = _line(key_node)
            value = self.value(value_node, here)
            if value is not None or (is_client(here) and len(here) >= _CLIENT):
                found[key] = value
        return found

    def _entries(
        self, node: yaml.MappingNode, path: Path, depth: int
    ) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Return the nodes by key.

        The mapping's own keys override those merged by `<<`, and earlier merges override later
        ones.
        """
        self._count(node, depth)
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._note(key_node, path, "a key must be text")
            elif key_node.tag == f"{TAG}merge":
                for part in _parts(value_node):
                    if not isinstance(part, yaml.MappingNode):
                        self._note(part, path, "expected an alias of keys and values after <<")
                        continue
                    merged = {**self._entries(part, path, depth + 1), **merged}
            elif key_node.value in own:
                first = _line(own[key_node.value][0])
                message = f"duplicate key; first defined on line {first}"
                self._note(key_node, (*path, key_node.value), message)
            else:
                own[key_node.value] = (key_node, value_node)
        return {**merged, **own}

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        kind, text = node.tag.removeprefix(TAG), node.value
        if kind in ("str", "merge"):
            return self._text(node, path)
        if kind == "null":
            return None
        if kind not in _KINDS:
            return self._no_tags(node, path)
        try:
            value = _KINDS[kind](text)
        except (KeyError, ValueError):
            return self._fault(node, path, f"not a valid {kind}")
        # A client property is used as written: a password 007 is not 7.
        return text if self._verbatim(path) and kind != "bool" else value

    def _text(self, node: yaml.ScalarNode, path: Path) -> str:
        if self._environ is None:
            result = Substituted(node.value, used=False, problems=())
        else:
            result = substitute(node.value, self._environ)
        if result.used:
            self.document.substituted.add(path)
        for problem in result.problems:
            self._fault(node, path, problem)
        try:
            # JSON writes characters outside the first Unicode plane as surrogate pairs, and JSON is
            # YAML.
            return result.text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._fault(node, path, "not valid Unicode")
        return result.text

    def _no_tags(self, node: yaml.Node, path: Path) -> None:
        self._fault(node, path, "unknown tag; put a value that begins with ! in quotes")

    def _fault(self, node: yaml.Node, path: Path, message: str) -> None:
        """Add a fault that leaves the path without a value."""
        self._note(node, path, message)
        self.document.faulty.add(path)

    def _note(self, node: yaml.Node, path: Path, message: str) -> None:
        self.document.faults.append(Fault(_line(node), key_text(path), message))


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line + 1
    return line


def _parts(node: yaml.Node) -> list[yaml.Node]:
    """Return the nodes after a `<<`: one node, or those of a list."""
    return list(node.value) if isinstance(node, yaml.SequenceNode) else [node]
