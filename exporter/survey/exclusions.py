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
from exporter.survey.lines import Line
from exporter.survey.matches import subscriptions

MOST_UNKNOWN = 20
"""Most names without a known time that are listed."""
_DOLLAR = re.compile(r"\$(?=[${])")
Names = Mapping[str, int]
"""Name to the number of its subscriptions."""


def exclusions(
    source: SourceConfig, survey: Survey, table: ThresholdTable, days: float
) -> list[Line]:
    """Return the lines about what may be excluded; empty if there is nothing.

    A filter is about names. So a name is left out if one of its subscriptions, shown or not, has
    consumers, or is not expected to have any.
    """
    filters = filters_of(source)
    key = next((key for key in ("groups", "destinations") if key in filters), None)
    if key is None:
        return []
    still: dict[str, int] = {}
    unknown: dict[str, int] = {}
    numbers = {name: len(rows) for name, rows in _by_name(key, shown(source, survey)).items()}
    every = _by_name(key, survey.subscriptions)
    for name, number in sorted(numbers.items()):
        found = every[name]
        if any(each.consumers != 0 or not _expected(source, each, table) for each in found):
            continue
        said = _together([each.stillness for each in found], is_group=key == "groups")
        if said == "still":
            still[name] = number
        elif said != "moved":
            unknown[name] = number
    lines: list[Line] = []
    if still:
        lines += _known(source, key, filters[key], still, days)
    if unknown:
        lines += _unknown(key, unknown)
    return lines


def _by_name(key: str, rows: Iterable[Surveyed]) -> dict[str, list[Surveyed]]:
    found: dict[str, list[Surveyed]] = {}
    for each in rows:
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
) -> list[Line]:
    text = f"{_count(names, key)}: no consumers, no movement for more than {_days(days)}"
    head = Line("exclude", text)
    if key == "groups" and names_listed(filters_of(source)) is not None:
        removed = ", ".join(map(yaml_text, names))
        return [head, Line("paste", f"nothing; remove from groups.names: {removed}")]
    instead = f", instead of its `{key}`" if given.model_fields_set else ""
    texts = [f"    {key}:"]
    if "include" in given.model_fields_set:
        texts += ["      include:", *(f"        - {yaml_text(each)}" for each in given.include)]
    texts += ["      exclude:", *(f"        - {yaml_text(each)}" for each in given.exclude)]
    texts += _items(names)
    place = Line("paste", f"under `- name: {source.name}`{instead}:")
    return [head, place, *(Line("", text) for text in texts)]


def _unknown(key: str, names: Names) -> list[Line]:
    """Return the names as comments: pasted by mistake, they exclude nothing."""
    listed = _items(dict(list(names.items())[:MOST_UNKNOWN]))
    left = len(names) - MOST_UNKNOWN
    more = [f"and {left:,} more"] if left > 0 else []
    return [
        Line("unknown", f"{_count(names, key)}: no consumers, last movement unknown"),
        Line("paste", f"under `{key}: exclude:` those that you know to be dead:"),
        *(Line("", f"        # {text.strip()}") for text in [*listed, *more]),
    ]


def _items(names: Names) -> list[str]:
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
