"""Every target, by its name."""

from __future__ import annotations

from collections.abc import Mapping

from tests.fuzz import files, protocols, requests, sources
from tests.fuzz.target import Target

TARGETS: Mapping[str, Target] = {
    target.name: target
    for module in (sources, protocols, requests, files)
    for target in module.TARGETS
}
