"""YAML into plain data, with the line of every key, and environment variables put in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from exporter.config.errors import ConfigError, Fault

MAX_BYTES = 1 << 20
MAX_NODES = 100_000
"""Values in a file, aliases counted as often as they are used: a few lines can stand for billions."""

Path = tuple[str | int, ...]

_VARIABLE = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}|(\{))")


@dataclass(slots=True)
class Document:
    """A file's data, and where each part of it stands."""

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """Return the line of the value at the path, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)


def key_text(path: Path) -> str:
    """Write a path as people do: `sources[0].name`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read_yaml(text: str, name: str, environ: Mapping[str, str]) -> Document:
    """Parse the text. Raises `ConfigError` where it is no YAML; other faults are in the document."""
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 0
        column = mark.column + 1 if mark is not None else 0
        problem = error.problem or error.context or "not understood"
        raise ConfigError(
            name, [Fault(line, "", f"not valid YAML: {problem}, column {column}")]
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(name, [Fault(0, "", f"not valid YAML: {_first_line(error)}")]) from None
    if node is None:
        raise ConfigError(name, [Fault(0, "", "the file is empty; it needs a `sources` list")])
    reader = _Reader(loader, environ)
    reader.document.data = reader.value(node, ())
    return reader.document


class _Reader:
    """Turns YAML nodes into data."""

    def __init__(self, loader: yaml.SafeLoader, environ: Mapping[str, str]) -> None:
        self._loader = loader
        self._environ = environ
        self._nodes = 0
        self.document = Document()

    def value(self, node: yaml.Node, path: Path) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            if self._nodes == MAX_NODES + 1:
                self._fault(node, path, f"more than {MAX_NODES:,} values; aliases multiply them")
            return None
        self.document.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        own = {id(key) for key, _ in node.value}
        try:
            self._loader.flatten_mapping(node)
        except yaml.MarkedYAMLError as error:
            self._fault(node, path, f"not valid YAML: {error.problem}")
            return {}
        found: dict[str, Any] = {}
        seen: set[str] = set()
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._fault(key_node, path, "a key must be a text")
                continue
            key = key_node.value
            here = (*path, key)
            if id(key_node) in own:
                if key in seen:
                    first = self.document.lines[here]
                    self._fault(
                        key_node, here, f"this key stands twice; the first is in line {first}"
                    )
                    continue
                seen.add(key)
            self.document.lines[here] = key_node.start_mark.line + 1
            found[key] = self.value(value_node, here)
        return found

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        if node.tag != "tag:yaml.org,2002:str":
            try:
                return self._loader.construct_object(node)
            except (yaml.YAMLError, ValueError):
                self._fault(node, path, "not a value of a kind that is known here")
                return None
        return self._substitute(node, path)

    def _substitute(self, node: yaml.Node, path: Path) -> str:
        """Put in `${NAME}` and `${NAME:-default}`; `$$` is a dollar."""

        def replace(match: re.Match[str]) -> str:
            dollar, name, has_default, default, stray = match.groups()
            if dollar:
                return "$"
            if stray:
                self._fault(
                    node, path, "`${` without a variable; write ${NAME}, or $${ for the text"
                )
                return ""
            found = self._environ.get(name)
            if found is not None and not (found == "" and has_default):
                return found
            if has_default:
                return default or ""
            self._fault(
                node,
                path,
                f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}",
            )
            return ""

        return _VARIABLE.sub(replace, str(node.value))

    def _fault(self, node: yaml.Node, path: Path, message: str) -> None:
        self.document.faults.append(Fault(node.start_mark.line + 1, key_text(path), message))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
