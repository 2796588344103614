"""Writes the JSON Schema of the config, for editors.

To use it, put `# yaml-language-server: $schema=schema.json` on the first line of a config.
"""

from __future__ import annotations

import json
import re
from typing import Any

from exporter.config import Config

VARIABLE = {"type": "string", "pattern": r"\$\{"}
"""A value that contains an environment variable."""


def schema() -> str:
    """Return the schema as JSON text."""
    made = _with_variables(Config.model_json_schema())
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = "mq-lag-exporter config"
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def _with_variables(part: Any) -> Any:
    """Allow `${NAME}` for every value that is not plain text. Join the lines of descriptions."""
    if isinstance(part, list):
        return [_with_variables(item) for item in part]
    if not isinstance(part, dict):
        return part
    if isinstance(part.get("description"), str):
        part = {**part, "description": re.sub(r"(?<!\n)\n(?!\n)", " ", part["description"]).strip()}
    if (
        part.get("type") in ("boolean", "integer", "number")
        or {"enum", "pattern", "const"} & part.keys()
    ):
        about = {key: part[key] for key in ("title", "description", "default") if key in part}
        value = {key: item for key, item in part.items() if key not in about}
        return {**about, "anyOf": [value, VARIABLE]}
    if "oneOf" in part:
        # Editors support `anyOf` better than OpenAPI's discriminator (the key `system`).
        part = {"anyOf": part["oneOf"]}
    return {key: _with_variables(item) for key, item in part.items()}


if __name__ == "__main__":
    print(schema(), end="")
