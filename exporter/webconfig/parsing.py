"""The file's text to its model, and a fault to a text that quotes no secret."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import yaml
from pydantic import BaseModel, ValidationError

from exporter.webconfig.ciphers import Curve
from exporter.webconfig.errors import WebConfigError
from exporter.webconfig.models import File


def parse(path: Path) -> File:
    """Read and check the file at `path`; raises `WebConfigError`."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WebConfigError(f"can't be read: {error.strerror}") from error
    except UnicodeDecodeError:
        message = "expected UTF-8 text"
        raise WebConfigError(message) from None
    except yaml.YAMLError as error:
        # Neither the error's text nor the error goes on: both quote the file, which holds secrets.
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise WebConfigError(f"{where}expected YAML") from None
    if not isinstance(document, dict | None):
        raise WebConfigError(f"expected keys: {', '.join(File.model_fields)}")
    try:
        return File.model_validate(_without_nulls(document))
    except ValidationError as error:
        raise WebConfigError(_first_fault(error)) from None


def _without_nulls(value: object) -> object:
    """Drop keys without a value: they are keys not given, as Go's YAML has it."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return {} if value is None else value


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    *parents, key = [str(part) for part in fault["loc"]] or ["the file"]
    where = ".".join([*parents, key])
    if fault["type"] == "extra_forbidden":
        known = _keys_under(parents)
        near = difflib.get_close_matches(key, known, n=1)
        return f"{where}: unknown key; " + (
            f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
        )
    if fault["loc"][-2:-1] == ("tls_server_config",) and key == "curve_preferences":
        return f"{where}: expected only one of {', '.join(get_args(Curve))}"
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}"


def _keys_under(parents: Sequence[str]) -> list[str]:
    section = File.model_fields[parents[0]].annotation if parents else File
    return list(section.model_fields) if isinstance(section, type(BaseModel)) else []
