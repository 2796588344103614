"""The labels of what a source has whose destinations are queues."""

from __future__ import annotations

from collections.abc import Mapping


def labels_of(
    vhost: str | None,
    destination: str,
    group: str | None = None,
    partition: str | None = None,
) -> Mapping[str, str]:
    """Return the labels of a thing; what does not apply is left out."""
    named = {"vhost": vhost, "destination": destination, "partition": partition, "group": group}
    return {name: value for name, value in named.items() if value is not None}
