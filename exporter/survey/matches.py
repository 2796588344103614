"""How many names each pattern of the config matches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from exporter.config import Config, SourceConfig
from exporter.model import Survey
from exporter.patterns import LabelPatterns, NamePattern, labels_of_subscription, meant_by_glob
from exporter.survey.filters import filters_of, names_listed, names_of, shown

SURVEYED_LABELS = ("vhost", "destination", "group")
"""Labels of thresholds and scaling whose patterns are compared with names."""


class Note(NamedTuple):
    """A line of `check`."""

    text: str
    warning: bool = False


def source_matches(source: SourceConfig, survey: Survey) -> Iterator[Note]:
    """Yield a note for each pattern of the source."""
    filters, names = filters_of(source), names_of(survey)
    for key, each in filters.items():
        given = [k for k in ("include", "exclude") if k in each.model_fields_set]
        if key == "groups" and given and names_listed(filters) is not None:
            yield Note("groups.include and exclude are not used, because names is set", True)  # noqa: FBT003
            continue
        for part in given:
            patterns = getattr(each, part)
            yield from _matches(f"{key}.{part}", patterns, names[key], key)
    for key, patterns in (
        ("read_committed_groups", getattr(source, "read_committed_groups", ())),
        ("latency.groups", getattr(source.latency, "groups", ())),
    ):
        yield from _matches(key, patterns, names["groups"], "groups")


def _matches(key: str, patterns: Iterable[str], names: frozenset[str], kind: str) -> Iterator[Note]:
    for index, text in enumerate(patterns):
        found = count(text, names)
        place = f"{key}[{index}] {text}"
        if found:
            yield Note(f"{place}: matches {found} of {len(names)} {kind}")
        else:
            hint = glob_hint(text, names)
            yield Note(f"{place}: matches none of {len(names)} {kind}{hint}", warning=True)


def count(text: str, names: Iterable[str]) -> int:
    """Return how many names the pattern matches."""
    pattern = NamePattern(text)
    return sum(pattern.matches(name) for name in names)


def glob_hint(text: str, names: Iterable[str]) -> str:
    """Return the suggestion for a pattern that looks like a glob; empty for others."""
    meant = meant_by_glob(text)
    if meant is None:
        return ""
    return f"; did you mean `{meant}`? It matches {count(meant, names)}"


def line_matches(
    key: Literal["thresholds", "scaling"], config: Config, surveys: Mapping[str, Survey]
) -> Iterator[Note]:
    """Yield a note for each line of the list `key` that matches by names.

    `surveys` has the sources that were read. Without all of them, a line that matches nothing is no
    mistake for sure.
    """
    rows = [
        labels_of_subscription(source.system, source.name, row.vhost, row.destination, row.group)
        for source in config.sources
        if source.name in surveys
        for row in shown(source, surveys[source.name])
    ]
    whole = len(surveys) == len(config.sources)
    taken: set[int] = set()
    for index, line in enumerate(getattr(config, key)):
        patterns = line.patterns()
        if not patterns:
            continue
        compiled = LabelPatterns(patterns)
        found = {at for at, row in enumerate(rows) if compiled.matches(row)}
        if patterns.keys() & set(SURVEYED_LABELS):
            shown_as = ", ".join(f"{label}: {text}" for label, text in patterns.items())
            place = f"{key}[{index}] ({shown_as})"
            hints = "" if found else _hints(patterns, rows)
            yield _line_note(place, found, taken, hints, whole=whole)
        taken |= found


def _line_note(place: str, found: set[int], taken: set[int], hints: str, *, whole: bool) -> Note:
    if not found:
        unsure = "" if whole else " of the sources that could be read"
        return Note(f"{place}: matches no subscription{unsure}{hints}", warning=whole)
    text = f"{place}: matches {subscriptions(len(found))}"
    if found <= taken:
        return Note(f"{text}, but earlier lines match all of them", warning=whole)
    if found & taken:
        text += f"; earlier lines match {len(found & taken)} of them"
    return Note(text)


def _hints(patterns: Mapping[str, str], rows: Sequence[Mapping[str, str | None]]) -> str:
    """Say which of the patterns look like globs and match nothing."""
    hints = ""
    for label in SURVEYED_LABELS:
        text = patterns.get(label)
        names = {row[label] or "" for row in rows}
        if text is not None and not count(text, names):
            hints += glob_hint(text, names)
    return hints


def subscriptions(number: int) -> str:
    """Write a number of subscriptions."""
    return f"{number:,} subscription{'' if number == 1 else 's'}"
