"""From a file to a `Config`, or to every fault of it at once."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from exporter.config.errors import ConfigError, Fault
from exporter.config.models import Collection, Config, KafkaSource
from exporter.config.yaml_source import MAX_BYTES, Document, key_text, read_yaml

SYSTEMS = ("kafka",)
SHARED = tuple(Collection.model_fields)
"""Keys that `defaults` may set for every source."""


def load(path: str | Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read and check a config file. Raises `ConfigError`."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(str(path), [Fault(0, "", f"can't be read: {error.strerror}")]) from None
    if len(data) > MAX_BYTES:
        raise ConfigError(str(path), [Fault(0, "", f"larger than {MAX_BYTES:,} bytes")])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(str(path), [Fault(line, "", "not UTF-8 text")]) from None
    return parse(text, str(path), environ, folder=path.parent)


def parse(
    text: str, name: str, environ: Mapping[str, str] = os.environ, *, folder: Path | None = None
) -> Config:
    """Check a config's text; `name` is what errors call it, relative paths start at `folder`."""
    document = read_yaml(text, name, environ)
    if not isinstance(document.data, dict):
        raise ConfigError(name, [Fault(1, "", "expected keys and values, `sources:` among them")])
    faults = [*document.faults, *_twins(document)]
    merged = _with_defaults(document.data)
    try:
        config = Config.model_validate(merged, context={"folder": folder or Path()})
    except ValidationError as error:
        # A value that could not be read is a fault already, and must not be a second one.
        known = {fault.key for fault in faults}
        found = (_fault(detail, document) for detail in error.errors(include_url=False))
        faults += [fault for fault in found if fault.key not in known]
    if faults:
        raise ConfigError(name, faults)
    return config


def _with_defaults(data: dict[str, Any]) -> dict[str, Any]:
    """Put into each source what it does not set itself, the schedule and the labels key by key."""
    defaults, sources = data.get("defaults"), data.get("sources")
    if not isinstance(defaults, dict) or not isinstance(sources, list):
        return data
    try:
        Collection.model_validate(defaults)
    except ValidationError:
        return data  # reported where it stands, not again at each source
    return {
        **data,
        "sources": [
            _merge(defaults, source) if isinstance(source, dict) else source for source in sources
        ],
    }


def _merge(defaults: dict[str, Any], source: dict[str, Any]) -> dict[str, Any]:
    merged = dict(source)
    for key in SHARED:
        if key not in defaults:
            continue
        ours, theirs = defaults[key], source.get(key)
        if key not in source:
            merged[key] = ours
        elif isinstance(ours, dict) and isinstance(theirs, dict):
            merged[key] = {**ours, **theirs}
    return merged


def _twins(document: Document) -> list[Fault]:
    sources = document.data.get("sources")
    first: dict[str, int] = {}
    faults = []
    for index, source in enumerate(sources if isinstance(sources, list) else ()):
        name = source.get("name") if isinstance(source, dict) else None
        if not isinstance(name, str):
            continue
        path = ("sources", index, "name")
        line = document.line(path)
        if name in first:
            message = f"another source has this name, in line {first[name]}; names must differ"
            faults.append(Fault(line, key_text(path), message))
        first.setdefault(name, line)
    return faults


def _fault(detail: ErrorDetails, document: Document) -> Fault:
    path = detail["loc"]
    kind = detail["type"]
    message = detail["msg"]
    if kind == "extra_forbidden":
        message = _unknown(path)
    elif kind == "missing":
        message = f"missing; {_wanted(path)}"
    elif kind == "value_error":
        message = message.removeprefix("Value error, ")
    elif path and path[-1] == "system":
        message = f"not supported by this version; supported: {', '.join(SYSTEMS)}"
    elif kind == "literal_error":
        message = f"expected {detail['ctx']['expected']}"
    else:
        message = _EXPECTED.get(kind, message[:1].lower() + message[1:])
    return Fault(document.line(path), key_text(path), message)


_EXPECTED = {
    "string_type": "expected a text; put it in quotes if it looks like something else",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "tuple_type": "expected a list",
    "dict_type": "expected keys and values",
    "model_type": "expected keys and values",
    "model_attributes_type": "expected keys and values",
    "path_type": "expected a path",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}


def _wanted(path: tuple[int | str, ...]) -> str:
    """Say what a required key is for."""
    return {
        "name": "a source needs a name of its own",
        "system": f"one of: {', '.join(SYSTEMS)}",
        "bootstrap_servers": "brokers to begin with, such as kafka-1:9092,kafka-2:9092",
        "sources": "a list of the clusters to read",
    }.get(str(path[-1]), "it is needed")


def _unknown(path: tuple[int | str, ...]) -> str:
    known = _keys_at(path[:-1])
    near = difflib.get_close_matches(str(path[-1]), known, 1, 0.6)
    if near:
        return f"unknown key; did you mean {near[0]!r}?"
    return f"unknown key; known here: {', '.join(known)}"


def _keys_at(path: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the model at the path knows."""
    model: Any = Config
    for part in path:
        if isinstance(part, int):
            model = KafkaSource
            continue
        annotation = model.model_fields[part].annotation
        for candidate in (annotation, *get_args(annotation)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
    return list(model.model_fields)
