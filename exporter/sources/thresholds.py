"""Reads the thresholds of the config."""

from __future__ import annotations

from exporter.config import Config
from exporter.judgement.thresholds import ThresholdLine, ThresholdTable
from exporter.patterns import NamePattern


def threshold_table(config: Config) -> ThresholdTable:
    """Return the config's thresholds. A line that matches everything fills in missing values."""
    lines = []
    rest = None
    for line in config.thresholds:
        patterns = line.patterns()
        if patterns:
            lines.append(ThresholdLine(patterns, line.said()))
        else:
            rest = line.said()
    return ThresholdTable(lines, rest)


OF_SOURCES = frozenset({"system", "source"})


def idle_thresholds(config: Config) -> list[str]:
    """Return a note for each valid line of the thresholds without effect, probably a mistake."""
    notes = []
    before: list[dict[str, str]] = []
    for number, line in enumerate(config.thresholds):
        patterns = line.patterns()
        if not patterns:
            continue
        shown = ", ".join(f"{label}: {pattern}" for label, pattern in patterns.items())
        reason = _idle(config, patterns, set(line.said()), before)
        if reason is not None:
            notes.append(f"thresholds[{number}] ({shown}): {reason}")
        before.append(patterns)
    return notes


def switched_off(config: Config) -> list[str]:
    """Return a text for each line of the thresholds that switches something off."""
    found = []
    for number, line in enumerate(config.thresholds):
        said = line.said()
        off = [name for name in type(line).model_fields if said.get(name, "") is None]
        texts = [f"{', '.join(off)} off: not compared, and no alert uses it"] if off else []
        if said.get("consumers_expected") is False:
            texts.append("consumers_expected is false: having no consumers is not a fault")
        if texts:
            patterns = line.patterns()
            shown = ", ".join(f"{label}: {text}" for label, text in patterns.items())
            found.append(f"thresholds[{number}] ({shown or 'everything else'}): {'; '.join(texts)}")
    return found


def _idle(
    config: Config, patterns: dict[str, str], said: set[str], before: list[dict[str, str]]
) -> str | None:
    def matches(label: str, value: str) -> bool:
        return label not in patterns or NamePattern(patterns[label]).matches(value)

    if not any(matches("system", s.system) and matches("source", s.name) for s in config.sources):
        return "matches no configured source"
    if patterns in before:
        return "never used, an earlier line has the same match"
    if not said:
        return "sets nothing"
    if "probe_seconds" in said and not set(patterns) <= OF_SOURCES:
        return (
            "probe_seconds applies to a whole source; "
            "set it in a line that matches only system and source"
        )
    return None
