"""The lines that `check` prints."""

from __future__ import annotations

from typing import Literal, NamedTuple

Mark = Literal["ok", "missing", "failed", "note", "warning", "exclude", "unknown", "paste", ""]


class Line(NamedTuple):
    """A line of the report.

    `failed` is a missing feature that is required. Without a mark, the text is a title or something
    to paste.
    """

    mark: Mark
    text: str
