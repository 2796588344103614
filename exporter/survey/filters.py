"""The filters of a source, whatever its system is."""

from __future__ import annotations

from typing import Any

from exporter.config import GroupFilter, NameFilter, SourceConfig
from exporter.model import Survey, Surveyed

FILTERS = ("vhosts", "destinations", "groups")
"""Config keys of filters. No system has all of them."""


def filters_of(source: SourceConfig) -> dict[str, NameFilter]:
    """Return the filters that the source's system has, by key."""
    found = ((key, getattr(source, key, None)) for key in FILTERS)
    return {key: each for key, each in found if isinstance(each, NameFilter)}


def widened(source: SourceConfig) -> SourceConfig:
    """Return the same source without filters, so that a survey of it has all names.

    Groups that are given by name stay, because they cannot be listed.
    """
    changes: dict[str, Any] = {
        key: GroupFilter(names=each.names) if isinstance(each, GroupFilter) else NameFilter()
        for key, each in filters_of(source).items()
    }
    return source.model_copy(update=changes)


def names_of(survey: Survey) -> dict[str, frozenset[str]]:
    """Return the names that each filter applies to, by its key."""
    return {
        "vhosts": frozenset(vhost for vhost, _ in survey.destinations if vhost is not None),
        "destinations": frozenset(name for _, name in survey.destinations),
        "groups": survey.groups,
    }


def shown(source: SourceConfig, survey: Survey) -> list[Surveyed]:
    """Return the subscriptions that pass the source's filters."""
    filters = filters_of(source)
    listed = names_listed(filters)

    def passes(key: str, name: str | None) -> bool:
        if key == "groups" and listed is not None:
            return name in listed
        return name is None or key not in filters or filters[key].allows(name)

    return [
        each
        for each in survey.subscriptions
        if passes("vhosts", each.vhost)
        and passes("destinations", each.destination)
        and passes("groups", each.group)
    ]


def names_listed(filters: dict[str, NameFilter]) -> tuple[str, ...] | None:
    """Return the groups that are given by name, so that patterns are not used."""
    groups = filters.get("groups")
    return groups.names if isinstance(groups, GroupFilter) else None
