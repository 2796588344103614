"""The lines of `check`: what each source supports, what its patterns match, what to exclude."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from exporter.collectors.making import make_collector
from exporter.config import Config, SourceConfig
from exporter.model import CollectError, Collector, Finding, Survey, Until
from exporter.sources.thresholds import idle_thresholds, switched_off, threshold_table
from exporter.survey.exclusions import exclusions
from exporter.survey.filters import filters_of, widened
from exporter.survey.lines import Line, Mark
from exporter.survey.matches import Note, line_matches, source_matches

DAY = 86_400.0


class Report:
    """Checks the sources one by one."""

    def __init__(self, config: Config, days: float) -> None:
        """`days` is how long what is proposed to be excluded has not moved."""
        self._config = config
        self._days = days
        self._surveys: dict[str, Survey] = {}
        self.good = True
        """Whether all required features were found so far."""

    def lines(self) -> Iterator[Line]:
        """Yield the lines. Slow, because it reads the sources."""
        for note in idle_thresholds(self._config):
            yield Line("note", note)
        for note in switched_off(self._config):
            yield Line("note", note)
        for source in self._config.sources:
            yield Line("", f"\n{source.name} ({source.system})")
            yield from self._source(source)
        for key in ("thresholds", "scaling"):
            notes = list(line_matches(key, self._config, self._surveys))
            if notes:
                yield Line("", f"\n{key}")
                yield from _noted(notes)

    def _source(self, source: SourceConfig) -> Iterator[Line]:
        collector = make_collector(source, "console", "error")
        try:
            findings = collector.check(Until(source.deadline))
        except CollectError as error:
            findings = [Finding("connection", ok=False, detail=str(error), required=True)]
        finally:
            collector.close()
        for finding in findings:
            mark: Mark = "ok" if finding.ok else "failed" if finding.required else "missing"
            yield Line(mark, f"{finding.feature}: {finding.detail}")
        self.good &= all(finding.ok for finding in findings if finding.required)
        if not all(each.ok for each in findings if each.feature == "connection"):
            return
        yield Line("note", f"the probe writes: {source.writes or 'nothing, it is off'}")
        if filters_of(source):
            yield from self._names(source)

    def _names(self, source: SourceConfig) -> Iterator[Line]:
        collector = make_collector(widened(source), "console", "error")
        try:
            survey = _survey(collector, source.deadline, self._days)
        except CollectError as error:
            yield Line("note", f"names could not be read for the patterns: {error}")
            return
        finally:
            collector.close()
        if survey.problems:
            first = survey.problems[0]
            yield Line("note", f"some names may be missing: {first.subject}: {first.message}")
        else:
            self._surveys[source.name] = survey
        yield from _noted(source_matches(source, survey))
        table = threshold_table(self._config)
        yield from exclusions(source, survey, table, self._days)


def _survey(collector: Collector, deadline: float, days: float) -> Survey:
    return collector.survey(Until(deadline), days * DAY)


def _noted(notes: Iterable[Note]) -> Iterator[Line]:
    for note in notes:
        yield Line("warning" if note.warning else "note", note.text)
