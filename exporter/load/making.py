"""Makes the workload of a destination, by its system's row."""

from __future__ import annotations

from exporter.load.clients import Workload
from exporter.systems import SYSTEMS, part

LOADABLE = {name: system.workload for name, system in SYSTEMS.items() if system.workload}
"""By system: what makes its workload."""


def workload_of(
    system: str, address: str, destination: str, group: str, retention: float | None = None
) -> Workload:
    """Return the workload; nothing is connected yet.

    `retention`, in seconds, is for systems that keep messages; others raise `LoadError`.
    """
    workload: Workload = part(LOADABLE[system])(address, destination, group, retention)
    return workload
