"""The page: blocks of ready bytes, rendered once per change, and the choice among them for a scrape.

A block is one metric's series of one source. Sample lines are the same in the text format 0.0.4 and in OpenMetrics;
only the lines above them differ, and `# EOF`. Compressed blocks concatenate, too
(`gzipping`).
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, Protocol

from prometheus_client.exposition import choose_encoder

from exporter.catalogue import CATALOGUE, Metric
from exporter.gzipping import Part, Stream, part, stream

Format = Literal["text", "openmetrics"]
Number = int | float

LABEL_ORDER = ("system", "source", "vhost", "destination", "partition", "group")
LONGEST_VALUE = 1_000
"""Characters of a label value; brokers' own limits for names of topics and queues are below it."""
DIGEST = 12
PIECE = 2_000
"""Series in a piece: about a quarter of a megabyte."""
CONTENT_TYPES: Mapping[Format, str] = {
    "text": "text/plain; version=0.0.4; charset=utf-8",
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
}


class Series(Protocol):
    """What `render` takes: one metric's label texts and values, side by side."""

    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> Sequence[str]: ...
    @property
    def values(self) -> Sequence[Number | None]: ...


def escape(value: str) -> str:
    """Return a name as a legal label value of the text format.

    Backslash, quote and newline are escaped. A lone surrogate, which has no UTF-8 form, becomes its escape sequence
    as text. Of a name that is longer than `LONGEST_VALUE` the rest becomes a digest, so that names stay different.
    """
    if len(value) > LONGEST_VALUE:
        digest = sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST]
        value = f"{value[:LONGEST_VALUE]}...{digest}"
    if not value.isascii():
        value = value.encode("utf-8", "backslashreplace").decode()
    if "\\" in value or '"' in value or "\n" in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return value


def labeler(constant: Mapping[str, str]) -> Callable[[Mapping[str, str]], str]:
    """Return a maker of label texts (`{a="b",c="d"} `, with the space behind) that adds `constant` to each."""

    def text(labels: Mapping[str, str]) -> str:
        merged = {**constant, **labels}
        ordered = [name for name in LABEL_ORDER if name in merged]
        ordered += [name for name in merged if name not in LABEL_ORDER]
        return "{" + ",".join(f'{name}="{escape(merged[name])}"' for name in ordered) + "} "

    return text


def render(series: Series) -> Iterator[bytes]:
    """Yield the sample lines of one metric of one source, some thousands at a time.

    Pieces keep the peak of memory at a fraction of the page.
    """
    name = series.name
    labels, values = series.labels, series.values
    for first in range(0, len(labels), PIECE):
        part = slice(first, first + PIECE)
        lines = f"\n{name}".join(map(operator.add, labels[part], map(str, values[part])))
        yield f"{name}{lines}\n".encode()


def header(metric: Metric, fmt: Format) -> bytes:
    """Return the HELP and TYPE lines."""
    name = metric.name
    if fmt == "openmetrics" and metric.kind == "counter":
        name = name.removesuffix("_total")
    text = metric.help.replace("\\", "\\\\").replace("\n", "\\n")
    return f"# HELP {name} {text}\n# TYPE {name} {metric.kind}\n".encode()


@dataclass(frozen=True, slots=True)
class Block:
    """Sample lines, plain and compressed."""

    plain: tuple[bytes, ...]
    zipped: Part


NOTHING = Block((), part(()))


def block(pieces: Iterable[bytes]) -> Block:
    """Keep the pieces in both forms."""
    plain = tuple(pieces)
    return Block(plain, part(plain))


HEADERS: Mapping[Format, Mapping[str, Block]] = {
    "text": {metric.name: block([header(metric, "text")]) for metric in CATALOGUE},
    "openmetrics": {metric.name: block([header(metric, "openmetrics")]) for metric in CATALOGUE},
}


@dataclass(frozen=True, slots=True)
class Page:
    """One answer to a scrape."""

    content_type: str
    encoding: str | None
    chunks: tuple[bytes, ...]


class Exposition:
    """Holds the blocks of every source and serves pages made of them. Safe to use from many threads."""

    def __init__(self, own: Callable[[Format], bytes]) -> None:
        """`own` renders the exporter's own lines, without `# EOF`; it is called at each scrape."""
        self._own = own
        self._lock = threading.Lock()
        self._blocks: dict[str, dict[str, Block]] = {}
        self._plain: dict[Format, tuple[bytes, ...]] = {}
        self._zipped: dict[Format, Stream] = {}
        self._assemble()

    def update(
        self,
        source: str,
        families: Iterable[Series],
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Replace what the source shows; what did not change is not compressed again.

        `wanted` is asked at the last moment, when no `remove` can come between.
        """
        before = self._blocks.get(source, {})
        after: dict[str, Block] = {}
        for family in families:
            known = before.get(family.name, NOTHING)
            pieces = tuple(_kept(render(family), known.plain))
            if pieces == known.plain:
                if known.plain:
                    after[family.name] = known
            elif pieces:
                after[family.name] = Block(pieces, part(pieces))
        with self._lock:
            if wanted():
                self._blocks[source] = after
                self._assemble()

    def remove(self, source: str, wanted: Callable[[], bool] = lambda: True) -> None:
        """Show nothing of the source any more; `wanted` is asked at the last moment."""
        with self._lock:
            if wanted() and self._blocks.pop(source, None) is not None:
                self._assemble()

    def page(self, accept: str, accept_encoding: str) -> Page:
        """Return the page in the format and encoding that the client prefers."""
        _, content_type = choose_encoder(accept)
        fmt: Format = "openmetrics" if "openmetrics" in content_type else "text"
        own = self._own(fmt) + (b"# EOF\n" if fmt == "openmetrics" else b"")
        if accepts_gzip(accept_encoding):
            return Page(CONTENT_TYPES[fmt], "gzip", self._zipped[fmt].ended_by(own))
        return Page(CONTENT_TYPES[fmt], None, (*self._plain[fmt], own))

    def _assemble(self) -> None:
        for fmt, headers in HEADERS.items():
            blocks: list[Block] = []
            for metric in CATALOGUE:
                found = [
                    source[metric.name] for source in self._blocks.values() if metric.name in source
                ]
                if found:
                    blocks += [headers[metric.name], *found]
            self._plain[fmt] = tuple(piece for each in blocks for piece in each.plain)
            self._zipped[fmt] = stream([each.zipped for each in blocks])


def accepts_gzip(header: str) -> bool:
    """Tell whether an Accept-Encoding header allows gzip (RFC 9110, 12.5.3)."""
    best: dict[str, float] = {}
    for choice in header.lower().split(","):
        coding, _, parameter = choice.strip().partition(";")
        quality = parameter.strip().removeprefix("q=") if parameter else "1"
        try:
            best[coding.strip()] = float(quality)
        except ValueError:
            best[coding.strip()] = 0.0
    return best.get("gzip", best.get("*", 0.0)) > 0


def _kept(pieces: Iterable[bytes], before: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the pieces, those that are as before as the very objects of before, so that they exist once."""
    for index, piece in enumerate(pieces):
        same = index < len(before) and before[index] == piece
        yield before[index] if same else piece
