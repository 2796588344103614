"""Reads a file into a `Config`, or reports all of its errors at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from exporter.config.errors import ConfigError, Fault
from exporter.config.faults import faults_of
from exporter.config.files import MAX_BYTES, TooLargeError, read_bounded
from exporter.config.models import Config
from exporter.config.secrecy import learn_secrets
from exporter.config.shared import Collection
from exporter.config.yaml_source import Document, key_text, read_yaml

SHARED = tuple(Collection.model_fields)
"""Keys that `defaults` may set for every source."""


def load(path: str | Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read and check a config file. Raises `ConfigError`."""
    path = Path(path)
    fault = text = None
    try:
        text = read_bounded(path).decode("utf-8-sig")
    except TooLargeError as error:
        fault = Fault(0, "", str(error))
    except OSError as error:
        fault = Fault(0, "", f"can't be read: {error.strerror}")
    except UnicodeDecodeError as error:
        fault = Fault(error.object[: error.start].count(b"\n") + 1, "", "not UTF-8 text")
    if text is None:
        # Raised outside the handler, so that no error with the file's content is attached to it.
        raise ConfigError(str(path), [fault] if fault else [])
    return parse(text, str(path), environ, folder=path.parent)


def parse(
    text: str, name: str, environ: Mapping[str, str] = os.environ, *, folder: Path | None = None
) -> Config:
    """Check a config's text; `name` is what errors call it, relative paths start at `folder`.

    Raises `ConfigError`.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise ConfigError(name, [Fault(0, "", str(TooLargeError()))])
    document = read_yaml(text, name, environ)
    learn_secrets(document.data)
    faults = list(document.faults)
    config = None
    if isinstance(document.data, dict):
        faults += _twins(document)
        faults += _twice_given(document)
        try:
            merged = _with_defaults(document.data)
            config = Config.model_validate(merged, context={"folder": folder or Path()})
        except ValidationError as error:
            faults += faults_of(error, document)
    elif not faults:
        faults.append(
            Fault(document.line(()), "", "expected keys and values, including `sources:`")
        )
    if faults or config is None:
        raise ConfigError(name, faults)
    return config


def _with_defaults(data: dict[str, Any]) -> dict[str, Any]:
    """Copy the defaults into each source that does not set them; schedule and labels key by key."""
    defaults, sources = data.get("defaults"), data.get("sources")
    if not isinstance(defaults, dict) or not isinstance(sources, list):
        return data
    try:
        Collection.model_validate(defaults)
    except ValidationError:
        return data  # reported once under `defaults`, not again at each source
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


def _sources(document: Document) -> Iterator[tuple[int, dict[str, Any]]]:
    sources = document.data.get("sources")
    for index, source in enumerate(sources if isinstance(sources, list) else ()):
        if isinstance(source, dict):
            yield index, source


def _twins(document: Document) -> Iterator[Fault]:
    """Find sources with the same name, even if a source has other faults."""
    first: dict[str, int] = {}
    for index, source in _sources(document):
        path, name = ("sources", index, "name"), source.get("name")
        if not isinstance(name, str) or not name or document.is_faulty(path):
            continue
        line = document.line(path)
        if name in first:
            message = (
                f"duplicate name, also used on line {first[name]}; source names must be unique"
            )
            yield Fault(line, key_text(path), message)
        first.setdefault(name, line)


def _twice_given(document: Document) -> Iterator[Fault]:
    """Find properties that are both under `client` and under `client_files`."""
    for index, source in _sources(document):
        client, files = source.get("client"), source.get("client_files")
        if isinstance(client, dict) and isinstance(files, dict):
            for name in client.keys() & files.keys():
                line = document.line(("sources", index, "client", name))
                path = ("sources", index, "client_files", name)
                message = f"also set under client on line {line}; keep one of them"
                yield Fault(document.line(path), key_text(path), message)
