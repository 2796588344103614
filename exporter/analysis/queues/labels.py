"""Labels of the objects of a queue source."""

from __future__ import annotations

from collections.abc import Mapping


def labels_of(
    vhost: str | None,
    destination: str,
    group: str | None = None,
    partition: str | None = None,
) -> Mapping[str, str]:
    """Return the labels; those that are None are omitted."""
    named = {"vhost": vhost, "destination": destination, "partition": partition, "group": group}
    return {name: value for name, value in named.items() if value is not None}
