"""Config models of the made-up systems."""

from __future__ import annotations

from typing import Literal

from exporter.config.shared import LatencyLimit, Model, SourceConfig


class ToyProbe(Model):
    enabled: bool = False
    destination: str = ""


class ToySource(SourceConfig):
    address: str
    latency: LatencyLimit = LatencyLimit()
    probe: ToyProbe = ToyProbe()

    @property
    def addresses(self) -> frozenset[str]:
        return frozenset({self.address})


class LedgerSource(ToySource):
    system: Literal["ledger"]


class PileSource(ToySource):
    system: Literal["pile"]
