"""Writes and reads the tables in docs/compatibility.md, and compares them with the last commit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.versions.catalogue import TITLES, VERSIONS, WORDS, Version
from bench.versions.judging import PROPERTIES, Cell, Verdict

BEGIN = "<!-- From here on, `make versions` writes this file. -->"
EMPHASIZED = {Verdict.WRONG: "**wrong**"}
CELL = re.compile(r"(\*\*)?(?P<verdict>[a-z ]+?)(\*\*)?(, (?P<detail>.*))?$")
RANKS = list(Verdict)
NONE = "none"
Key = tuple[str, str]
"""Name of a version, and kind of destination."""


@dataclass(frozen=True)
class Row:
    """The results of one kind of destination on one version."""

    name: str
    """Of the version."""
    kind: str
    exact: str
    """The version as the broker reports it; empty if it did not run."""
    cells: Mapping[str, Cell]
    tested: str
    """The date."""
    reason: str = ""
    """Why nothing was measured."""

    @property
    def key(self) -> Key:
        """Identifies a row."""
        return self.name, self.kind


def unmeasured(
    version: Version, kind: str, verdict: Verdict, reason: str, tested: str, exact: str = ""
) -> Row:
    """Return a row with the same verdict in all cells."""
    cells = {name: Cell(verdict) for name in PROPERTIES}
    return Row(version.name, kind, exact, cells, tested, reason)


def write(document: str, rows: Iterable[Row], tested: str, exporter: str) -> str:
    """Return the document with these rows as its generated part."""
    by_key = {row.key: row for row in rows}
    lines = [BEGIN, "", f"Last run: {tested}, mq-lag-exporter {exporter}.", ""]
    for system, title in TITLES.items():
        known = [
            by_key[version.name, kind]
            for version in VERSIONS
            if version.system == system
            for kind in version.every_kind
            if (version.name, kind) in by_key
        ]
        if known:
            lines += [f"## {title}", "", *_table(system, known), "", *_notes(known)]
    text, _, _ = document.partition(BEGIN)
    return text + "\n".join(lines).rstrip() + "\n"


def _table(system: str, rows: Sequence[Row]) -> list[str]:
    header = ["release", "version", WORDS[system], *PROPERTIES, "tested"]
    lines = [header, ["---"] * len(header)]
    for row in rows:
        release = row.name.partition("-")[2]
        cells = [_text(row.cells[name]) for name in PROPERTIES]
        lines.append([release, row.exact or NONE, row.kind, *cells, row.tested])
    return [f"| {' | '.join(line)} |" for line in lines]


def _notes(rows: Sequence[Row]) -> list[str]:
    notes = [f"- {row.name}, {row.kind}: {row.reason}" for row in rows if row.reason]
    return [*notes, ""] if notes else []


def _text(cell: Cell) -> str:
    verdict = EMPHASIZED.get(cell.verdict, cell.verdict.value)
    return f"{verdict}, {_plain(cell.detail)}" if cell.detail else verdict


def _plain(text: str) -> str:
    """Return a text for one cell and one line."""
    return " ".join(text.replace("|", "/").split())


def read(document: str) -> dict[Key, Row]:
    """Return the rows of a document; none if it has no generated part."""
    _, _, generated = document.partition(BEGIN)
    systems = {title: system for system, title in TITLES.items()}
    system, found = "", dict[Key, Row]()
    reasons: dict[Key, str] = {}
    for line in generated.splitlines():
        if line.startswith("## "):
            system = systems.get(line.removeprefix("## "), "")
        elif line.startswith("- ") and ": " in line:
            subject, _, reason = line.removeprefix("- ").partition(": ")
            name, _, kind = subject.partition(", ")
            reasons[name, kind] = reason
        elif line.startswith("| ") and not line.startswith(("| release", "| ---")):
            row = _row(system, [part.strip() for part in line.strip("| ").split(" | ")])
            found[row.key] = row
    return {key: Row(**{**vars(row), "reason": reasons.get(key, "")}) for key, row in found.items()}


def _row(system: str, parts: Sequence[str]) -> Row:
    release, exact, kind, *texts, tested = parts
    cells = {name: _cell(text) for name, text in zip(PROPERTIES, texts, strict=True)}
    return Row(f"{system}-{release}", kind, "" if exact == NONE else exact, cells, tested)


def _cell(text: str) -> Cell:
    found = CELL.match(text)
    if found is None:
        raise ValueError(f"not a cell of the table: {text!r}")
    return Cell(Verdict(found["verdict"]), found["detail"] or "")


def worse(before: Mapping[Key, Row], after: Iterable[Row]) -> list[str]:
    """Return the cells that got worse, by name. A new cell is worse if it is wrong."""
    return [
        f"{row.name}, {row.kind}, {name}: {was}{_text(cell)}"
        f"{f' ({row.reason})' if row.reason else ''}"
        for row in after
        for name, cell in row.cells.items()
        if (was := _was(before.get(row.key), name, cell)) is not None
    ]


def _was(known: Row | None, name: str, cell: Cell) -> str | None:
    """Return how a cell that got worse was before; None if it did not get worse."""
    if known is None:
        return "" if cell.verdict is Verdict.WRONG else None
    was = known.cells[name]
    return (
        f"was {_text(was)}, is " if RANKS.index(cell.verdict) > RANKS.index(was.verdict) else None
    )
