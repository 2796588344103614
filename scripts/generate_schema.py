"""The JSON Schema of the config, for editors."""

from __future__ import annotations

import json

from exporter.config import Config


def schema() -> str:
    """Return the schema as JSON text."""
    made = Config.model_json_schema()
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = "mq-lag-exporter config"
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"
