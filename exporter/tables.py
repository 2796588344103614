"""The table of thresholds from the config, for those who judge by it."""

from __future__ import annotations

from exporter.analysis.thresholds import ThresholdLine, ThresholdTable
from exporter.config import Config


def threshold_table(config: Config) -> ThresholdTable:
    """Return the config's thresholds; a last line that matches everything says what the others leave open."""
    lines = []
    rest = None
    for line in config.thresholds:
        patterns = {} if line.match is None else line.match.patterns()
        if patterns:
            lines.append(ThresholdLine(patterns, line.said()))
        else:
            rest = line.said()
    return ThresholdTable(lines, rest)
