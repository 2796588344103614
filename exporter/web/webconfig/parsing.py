"""Parses the file into its model. Error texts quote no secret."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from exporter.config.errors import ConfigError, Fault
from exporter.config.files import TooLargeError, read_bounded
from exporter.config.yaml_source import document_of, plain_key
from exporter.web.webconfig.ciphers import Curve
from exporter.web.webconfig.errors import WebConfigError
from exporter.web.webconfig.models import File

_NO_YAML = "not valid YAML: "


def parse(path: Path) -> File:
    """Read and check the file at `path`. Raises `WebConfigError`."""
    try:
        text = read_bounded(path).decode("utf-8-sig")
    except OSError as error:
        raise WebConfigError(f"can't be read: {error.strerror}") from error
    except TooLargeError as error:
        raise WebConfigError(str(error)) from None
    except UnicodeDecodeError:
        message = "expected UTF-8 text"
        raise WebConfigError(message) from None
    data = _data(text, path)
    try:
        return File.model_validate(data)
    except ValidationError as error:
        raise WebConfigError(_first_fault(error)) from None


def _data(text: str, path: Path) -> dict[str, Any]:
    """Return the file's keys. Those without a value are left out, as in Go's YAML."""
    try:
        # Hashes begin with `$`, so there are no variables.
        document = document_of(text, path.name, None, verbatim=_is_header)
    except ConfigError as error:
        raise WebConfigError(_yaml_fault(error.faults[0])) from None
    if document is None or (document.data is None and not document.faults):
        return {}
    if document.faults:
        raise WebConfigError(_yaml_fault(min(document.faults)))
    if not isinstance(document.data, dict):
        raise WebConfigError(f"expected keys: {', '.join(File.model_fields)}")
    return document.data


def _is_header(path: tuple[str | int, ...]) -> bool:
    """Return whether the path is that of a header. Its value is text even if it looks like `1`."""
    return path[:2] == ("http_server_config", "headers")


def _yaml_fault(fault: Fault) -> str:
    """Return the message of a YAML error. It quotes nothing of the file."""
    where = f"line {fault.line}" if fault.line else ""
    where += f", column {fault.column}" if fault.column else ""
    message = fault.message
    if message.startswith(_NO_YAML):
        message = f"expected YAML: {message.removeprefix(_NO_YAML)}"
    return ": ".join(part for part in (where, fault.key, message) if part)


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    *parents, key = [str(part) for part in fault["loc"]] or ["the file"]
    where = ".".join(map(plain_key, [*parents, key]))
    if fault["type"] == "extra_forbidden":
        known = _keys_under(parents)
        near = difflib.get_close_matches(key, known, n=1)
        return f"{where}: unknown key; " + (
            f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
        )
    if fault["type"] == "model_type":
        return f"{where}: expected keys: {', '.join(_keys_under([*parents, key]))}"
    if fault["loc"][-2:-1] == ("tls_server_config",) and key == "curve_preferences":
        return f"{where}: expected only one of {', '.join(get_args(Curve))}"
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}"


def _keys_under(parents: Sequence[str]) -> list[str]:
    section = File.model_fields[parents[0]].annotation if parents else File
    return list(section.model_fields) if isinstance(section, type(BaseModel)) else []
