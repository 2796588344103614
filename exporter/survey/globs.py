"""Finds patterns of a running config that were probably meant as globs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import structlog

from exporter.config import Config, SourceConfig
from exporter.patterns import meant_by_glob
from exporter.survey.filters import filters_of, names_listed
from exporter.survey.matches import SURVEYED_LABELS, count

LABELS = {"vhosts": "vhost", "destinations": "destination", "groups": "group"}
"""Filter to the key of the names in a row."""
Rows = list[dict[str, Any]]


class RunningSource(Protocol):
    """The part of a source that is compared with the patterns."""

    config: SourceConfig

    @property
    def tried(self) -> bool: ...
    def status(self) -> Mapping[str, Any]: ...
    def rows(self) -> Rows: ...


class Suspect(NamedTuple):
    """A pattern that looks like a glob."""

    key: str
    label: str
    pattern: str
    meant: str


class GlobWatch:
    """Compares patterns that look like globs with the names of each source once it was read.

    A pattern that matches a name is none of these mistakes.
    """

    def __init__(self, config: Config) -> None:
        sources = {source.name: list(_of_filters(source)) for source in config.sources}
        self._of_sources = {name: found for name, found in sources.items() if found}
        self._of_lines = list(_of_lines(config))
        self._log = structlog.get_logger(__name__)

    def observe(self, sources: Iterable[RunningSource]) -> None:
        """Log the mistakes in the patterns of the sources that were read for the first time."""
        if not self._of_sources and not self._of_lines:
            return
        read = {}
        every = list(sources)
        for source in every:
            if source.tried and source.status()["up"]:
                read[source.config.name] = source
        for name in [name for name in self._of_sources if name in read]:
            rows = read[name].rows()
            for suspect in self._of_sources.pop(name):
                if _is_mistake(suspect, rows):
                    self._tell(suspect, source=name)
        if self._of_lines and len(read) == len(every):
            rows = [row for source in every for row in source.rows()]
            for suspect in self._of_lines:
                if not count(suspect.pattern, _names(suspect, rows)):
                    self._tell(suspect)
            self._of_lines = []

    def _tell(self, suspect: Suspect, **more: str) -> None:
        self._log.warning(
            "config.looks_like_glob",
            key=suspect.key,
            pattern=suspect.pattern,
            suggestion=suspect.meant,
            **more,
        )


def _is_mistake(suspect: Suspect, rows: Rows) -> bool:
    """Whether an `include` pattern selects nothing, or an `exclude` one leaves in what it means."""
    names = _names(suspect, rows)
    if ".exclude" in suspect.key:
        return count(suspect.meant, names) > 0
    return count(suspect.pattern, names) == 0


def _names(suspect: Suspect, rows: Rows) -> set[str]:
    return {row[suspect.label] or "" for row in rows}


def _of_filters(source: SourceConfig) -> Iterator[Suspect]:
    filters = filters_of(source)
    for key, each in filters.items():
        if key == "groups" and names_listed(filters) is not None:
            continue
        for part in ("include", "exclude"):
            for index, pattern in enumerate(getattr(each, part)):
                meant = meant_by_glob(pattern)
                if meant is not None:
                    yield Suspect(f"{key}.{part}[{index}]", LABELS[key], pattern, meant)


def _of_lines(config: Config) -> Iterator[Suspect]:
    for key in ("thresholds", "scaling"):
        for index, line in enumerate(getattr(config, key)):
            patterns = line.patterns()
            for label in SURVEYED_LABELS:
                meant = meant_by_glob(patterns.get(label, ""))
                if meant is not None:
                    place = f"{key}[{index}].match.{label}"
                    yield Suspect(place, label, patterns[label], meant)
