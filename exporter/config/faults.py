"""Turns pydantic's errors into config errors that a person can fix."""

from __future__ import annotations

import difflib
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from exporter.config.errors import Fault
from exporter.config.models import SOURCES, Config
from exporter.config.yaml_source import Document, Path, is_client, key_text

_SOURCE, _CLIENT_PROPERTY = 2, 4
"""Parts of the path of a source, and of one of its client properties."""
_NO_SYSTEM = ("union_tag_not_found", "union_tag_invalid")
_STRUCTURE = {
    "union_tag_not_found": "keys and values",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
}
_SYNONYMS = {
    **dict.fromkeys(("topic", "queue", "stream"), ("destination", "destinations")),
    **dict.fromkeys(("topics", "queues", "streams"), ("destinations", "destination")),
    **dict.fromkeys(("channel", "consumer_group"), ("group", "groups", "destination")),
    **dict.fromkeys(("channels", "consumer_groups"), ("groups", "group", "destinations")),
}
"""Words of a system to the keys that they may mean. The first one that is allowed is suggested."""
_WANTED = {
    "name": "each source needs a unique name",
    "system": f"one of: {', '.join(SOURCES)}",
    "bootstrap_servers": "the brokers' addresses, such as kafka-1:9092,kafka-2:9092",
    "management_url": "the address of the management API, such as http://rabbit:15672",
    "sources": "the list of clusters to read",
}


def faults_of(error: ValidationError, document: Document) -> list[Fault]:
    """Return one fault for each thing to fix, without those that only follow from another one."""
    details = error.errors(include_url=False)
    misspelt = {
        (*path[:-1], _nearest(path, document))
        for detail in details
        if detail["type"] == "extra_forbidden"
        for path in [_path(detail)]
    }
    found = [
        _fault(detail, document)
        for detail in details
        if detail["type"] != "missing" or _path(detail) not in misspelt
    ]
    return [fault for fault in found if fault is not None]


def _path(detail: ErrorDetails) -> Path:
    """Return the path of the value in the file.

    pydantic's path also has the system by which it chose the source's model.
    """
    path = tuple(part for part in detail["loc"] if part != "[key]")
    if path[:1] == ("sources",) and len(path) > _SOURCE:
        path = (*path[:_SOURCE], *path[_SOURCE + 1 :])
    if detail["type"] in _NO_SYSTEM and isinstance(detail["input"], dict):
        path = (*path, "system")
    return path


def _fault(detail: ErrorDetails, document: Document) -> Fault | None:
    path, kind = _path(detail), detail["type"]
    if document.is_faulty(path) or (kind == "config" and document.is_faulty_below(path)):
        return None
    line = document.line(path)
    if is_client(path) and len(path) >= _CLIENT_PROPERTY and detail["input"] is None:
        # The key may be the rest of a password: `client: {sasl.password: one,two}`.
        message = "a property has no value; put values that contain a comma in quotes"
        return Fault(line, key_text(path[: _CLIENT_PROPERTY - 1]), message)
    if (
        kind == "config"
        and path[0] == "sources"
        and isinstance(path[-1], int)
        and len(path) == _SOURCE
    ):
        # A whole source is refused for its system, or for a missing key.
        if detail["input"].get("system") not in SOURCES:
            path = (*path, "system")
        line = document.line(path)
    message = _message(path, detail, document, private=document.is_private(path))
    return Fault(line, key_text(path), message)


def _message(path: Path, detail: ErrorDetails, document: Document, *, private: bool) -> str:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "config":
        return str(context["expected" if private else "shown"])
    if kind == "extra_forbidden":
        return _unknown(path, document)
    if kind in _NO_SYSTEM and isinstance(value, dict):
        return _no_system(value)
    if kind == "missing":
        return f"missing; {_WANTED.get(str(path[-1]), 'this key is required')}"
    if kind == "literal_error":
        known = f"expected {context['expected']}"
        return f"{known}, not {value!r}" if isinstance(value, str) and not private else known
    quotes = "; put it in quotes" if kind == "string_type" and _is_plain(value) else ""
    return f"expected {_STRUCTURE[kind]}, not {_kind(value)}{quotes}"


def _no_system(source: dict[str, Any]) -> str:
    """Return the error of a source with an unknown or missing system."""
    systems = ", ".join(SOURCES)
    if "system" in source:
        return f"expected one of {systems}, not {_kind(source['system'])}"
    near = difflib.get_close_matches("system", map(str, source), 1, 0.6)
    if near:
        return f"missing; did you misspell it as {near[0]!r}? Expected one of: {systems}"
    return f"missing; {_WANTED['system']}"


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float)


def _kind(value: Any) -> str:
    """Describe the type of a value without showing it."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        return "a list"
    return "keys and values" if isinstance(value, dict) else "nothing"


def _unknown(path: Path, document: Document) -> str:
    key, known, near = str(path[-1]), _keys_at(path[:-1], document), _nearest(path, document)
    if near is not None:
        return f"unknown key; did you mean {near!r}?"
    if "." in key and "client" in known:
        return "unknown key; put librdkafka properties under `client`"
    return f"unknown key; allowed here: {', '.join(known)}"


def _nearest(path: Path, document: Document) -> str | None:
    """Return the known key that is most similar to an unknown one, if any is similar."""
    key, known = str(path[-1]), _keys_at(path[:-1], document)
    meant = [each for each in _SYNONYMS.get(key.lower().replace("-", "_"), ()) if each in known]
    near = meant or difflib.get_close_matches(key, known, 1, 0.6)
    return near[0] if near else None


def _keys_at(path: Path, document: Document) -> list[str]:
    """Return the keys that the model at the path knows."""
    model: Any = Config
    for part in path:
        if isinstance(part, int):
            if path[0] == "sources":
                model = SOURCES[document.data["sources"][part]["system"]]
            continue
        annotation = model.model_fields[part].annotation
        for candidate in (annotation, *get_args(annotation)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
    return list(model.model_fields)
