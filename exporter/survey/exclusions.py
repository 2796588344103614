"""Config lines that exclude groups and queues without consumers that have not moved for long."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from exporter.config import NameFilter, SourceConfig
from exporter.judgement.thresholds import ThresholdTable
from exporter.model import Stillness, Survey, Surveyed
from exporter.patterns import escaped
from exporter.survey.filters import filters_of, names_listed, shown
from exporter.survey.matches import subscriptions

MOST_UNKNOWN = 20
"""Most names without a known time that are listed."""
_DOLLAR = re.compile(r"\$(?=[${])")
Names = Mapping[str, int]
"""Name to the number of its subscriptions."""


def exclusions(
    source: SourceConfig, survey: Survey, table: ThresholdTable, days: float
) -> list[str]:
    """Return the lines about what may be excluded; empty if there is nothing.

    A filter is about names. So a name is left out if one of its subscriptions has consumers, or is
    not expected to have any.
    """
    filters = filters_of(source)
    key = next((key for key in ("groups", "destinations") if key in filters), None)
    if key is None:
        return []
    still: dict[str, int] = {}
    unknown: dict[str, int] = {}
    for name, found in sorted(_by_name(source, survey, key).items()):
        if any(each.consumers != 0 or not _expected(source, each, table) for each in found):
            continue
        said = _together([each.stillness for each in found], is_group=key == "groups")
        if said == "still":
            still[name] = len(found)
        elif said != "moved":
            unknown[name] = len(found)
    lines: list[str] = []
    if still:
        lines += _known(source, key, filters[key], still, days)
    if unknown:
        lines += _unknown(key, unknown)
    return lines


def _by_name(source: SourceConfig, survey: Survey, key: str) -> dict[str, list[Surveyed]]:
    found: dict[str, list[Surveyed]] = {}
    for each in shown(source, survey):
        name = each.group if key == "groups" else each.destination
        if name is not None:
            found.setdefault(name, []).append(each)
    return found


def _expected(source: SourceConfig, row: Surveyed, table: ThresholdTable) -> bool:
    """Whether the subscription is expected to have consumers."""
    thresholds = table.of_subscription(
        source.system, source.name, row.vhost, row.destination, row.group
    )
    return thresholds.consumers_expected


def _together(found: Sequence[Stillness], *, is_group: bool) -> Stillness:
    """Return what the subscriptions of a name say together."""
    if "moved" in found:
        return "moved"
    if "unknown" in found or "still" not in found:
        return "unknown"
    # Queues of the same name in several vhosts have nothing else in common.
    return "still" if is_group or set(found) == {"still"} else "unknown"


def _known(
    source: SourceConfig, key: str, given: NameFilter, names: Names, days: float
) -> list[str]:
    head = (
        f"{_count(names, key)} without consumers have not moved for more than {_days(days)}"
        if len(names) > 1
        else f"{_count(names, key)} without consumers has not moved for more than {_days(days)}"
    )
    listed = names_listed(filters_of(source)) if key == "groups" else None
    if listed is not None:
        return [f"{head}. Remove them from groups.names: {', '.join(map(yaml_text, names))}"]
    verb = "replace" if given.model_fields_set else "add"
    lines = [f"{head}. To exclude them, {verb} `{key}` of `- name: {source.name}`:", f"    {key}:"]
    if "include" in given.model_fields_set:
        lines += ["      include:", *(f"        - {yaml_text(each)}" for each in given.include)]
    lines += ["      exclude:", *(f"        - {yaml_text(each)}" for each in given.exclude)]
    return [*lines, *_items(names)]


def _unknown(key: str, names: Names) -> list[str]:
    has = "has" if len(names) == 1 else "have"
    head = (
        f"{_count(names, key)} without consumers {has} an unknown time of the last movement: "
        "nothing waits, or the broker does not say. If it is dead, add its line to "
        f"{key}.exclude:"
    )
    listed = _items(dict(list(names.items())[:MOST_UNKNOWN]))
    lines = [head, *(f"        # {line.strip()}" for line in listed)]
    left = len(names) - MOST_UNKNOWN
    return [*lines, f"        # and {left:,} more"] if left > 0 else lines


def _items(names: Names) -> Iterable[str]:
    return [
        f"        - {yaml_text(escaped(name))} # {subscriptions(number)}"
        for name, number in names.items()
    ]


def _count(names: Names, key: str) -> str:
    kind = key.removesuffix("s") if len(names) == 1 else key
    return f"{len(names):,} {kind} ({subscriptions(sum(names.values()))})"


def _days(days: float) -> str:
    return f"{days:g} day{'' if days == 1 else 's'}"


def yaml_text(text: str) -> str:
    """Write a text as a value of the config, in quotes."""
    text = _DOLLAR.sub("$$", text)
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return json.dumps(text)
