"""Makes the settings from the config."""

from __future__ import annotations

from tests.support.toy.config import ToySource
from tests.support.toy.settings import ToySettings


def toy_settings(config: ToySource) -> ToySettings:
    return ToySettings(name=config.name, address=config.address)
