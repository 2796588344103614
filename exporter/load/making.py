"""Makes the workload of a destination from its system's row."""

from __future__ import annotations

from exporter.load.clients import LoadError, Workload
from exporter.systems import SYSTEMS, resolve


def workload_of(
    system: str, address: str, destination: str, group: str, retention: float | None = None
) -> Workload:
    """Return the workload; nothing is connected yet.

    `retention` (seconds) is for systems that keep messages; others raise `LoadError`. So do systems
    without a workload.
    """
    path = SYSTEMS[system].workload
    if path is None:
        raise LoadError(f"there is no workload for {system}")
    workload: Workload = resolve(path)(address, destination, group, retention)
    return workload
