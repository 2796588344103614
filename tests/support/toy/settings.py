"""Settings of both collectors."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.collectors.settings import Settings


@dataclass(frozen=True)
class ToySettings(Settings):
    TASKS = ("backlog",)

    address: str
