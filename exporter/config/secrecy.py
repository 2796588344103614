"""Finds the secrets of a config. They are masked in every text from then on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.scrub import is_secret, learn, learn_client, learn_login, learn_url

_PATHS_AND_NAMES = frozenset({"client_files", "labels"})
"""Keys whose values are not secrets, whatever the keys below them are called."""


def learn_secrets(data: Any) -> None:
    """Mask the secrets of a config, even if the config is invalid."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            if key not in _PATHS_AND_NAMES:
                _learn(str(key), value)
        if data.get("password") is not None:
            learn_login(str(data.get("username") or ""), str(data["password"]))
    elif isinstance(data, list):
        for each in data:
            learn_secrets(each)


def _learn(key: str, value: Any) -> None:
    if key == "client" and isinstance(value, Mapping):
        learn_client({str(name): str(given) for name, given in value.items()})
    elif isinstance(value, Mapping | list):
        learn_secrets(value)
    elif value is not None and key != "password" and is_secret(key):
        learn(str(value))
    elif isinstance(value, str):
        learn_url(value)
