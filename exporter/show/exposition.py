"""The exposition at `/metrics`.

It consists of blocks of bytes, rendered once per change and ordered at the first scrape after it.

A block has the series of one metric of one source, in compressed parts of some hundred series each,
which can be concatenated (`gzip_parts`). Sample lines are the same in the text format 0.0.4 and in
OpenMetrics; only the HELP and TYPE lines and `# EOF` differ.

The cost of an update depends only on its source, not on the number of sources. A scrape costs a few
steps per block, and nothing if nothing has changed since the last one.
"""

from __future__ import annotations

import operator
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Literal, Protocol, TypeVar

import structlog

from exporter.analysis.families import Value
from exporter.catalogue import CATALOGUE, Metric
from exporter.show.gzip_parts import CompressedPart, GzipStream, part, stream
from exporter.show.presentable import presentable
from exporter.task_log import LogLimiter

Format = Literal["text", "openmetrics"]
Number = int | float
Whole = TypeVar("Whole")

LABEL_ORDER = ("system", "source", "vhost", "destination", "partition", "group")
LONGEST_VALUE = 1_000
"""Longest label value in characters. Brokers' own limits for names of topics and queues are below
it.
"""
DIGEST = 12
PIECE = 1_000
"""Series per part: about an eighth of a megabyte."""
CONTENT_TYPES: Mapping[Format, str] = {
    "text": "text/plain; version=0.0.4; charset=utf-8",
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
}


class Series(Protocol):
    """Input of `render`: one metric's label texts and values, in the same order."""

    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> Sequence[str]: ...
    @property
    def values(self) -> Sequence[Number | None]: ...


def escape(value: str) -> str:
    """Return a name as a legal label value of the text format.

    Backslash, quote and newline are escaped. A lone surrogate, which has no UTF-8 form, becomes its
    escape sequence as text. If a name is longer than `LONGEST_VALUE`, the rest is replaced by a
    digest, so that names stay different.
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
    """Return a function that adds `constant` to labels and formats them.

    The format is `{a="b",c="d"} `, with a space at the end.
    """

    def text(labels: Mapping[str, str]) -> str:
        merged = {**constant, **labels}
        ordered = [name for name in LABEL_ORDER if name in merged]
        ordered += [name for name in merged if name not in LABEL_ORDER]
        return "{" + ",".join(f'{name}="{escape(merged[name])}"' for name in ordered) + "} "

    return text


def _nobody(_: Sequence[str]) -> None:
    """Ignore the labels of series that were left out."""


@dataclass(frozen=True, slots=True)
class Block:
    """The lines of one metric of one source, and what they were made of."""

    parts: tuple[CompressedPart, ...] = ()
    """The lines of `PIECE` series each."""
    labels: tuple[str, ...] = ()
    values: tuple[Value, ...] = ()
    is_whole: bool = False
    """Whether no value was left out because Prometheus could not read it."""

    @property
    def has_every_piece(self) -> bool:
        """Whether the parts are those of the values in their order: none is empty."""
        return self.is_whole and len(self.parts) == -(-len(self.values) // PIECE)


def render(
    series: Series,
    left_out: Callable[[Sequence[str]], None] = _nobody,
    known: Block | None = None,
) -> Iterator[CompressedPart]:
    """Yield the sample lines of one metric of one source, compressed, `PIECE` series at a time.

    `left_out` gets the labels of values that Prometheus could not read. Parts of `known` whose
    labels and values are the same are yielded again: they are neither rendered nor compressed.
    """
    name = series.name
    reusable = known if known is not None and known.has_every_piece else None
    for first in range(0, len(series.labels), PIECE):
        piece = slice(first, first + PIECE)
        if reusable is not None and _is_same(series, reusable, piece):
            yield reusable.parts[first // PIECE]
            continue
        labels, values, others = presentable(series.labels[piece], series.values[piece])
        if others:
            left_out(others)
        if values:
            lines = f"\n{name}".join(map(operator.add, labels, map(str, values)))
            yield part(f"{name}{lines}\n".encode())


def _is_same(series: Series, known: Block, piece: slice) -> bool:
    """Return whether the labels and values of a piece are those of the last time.

    Most are the same objects, which makes the comparison much faster than the rendering.
    """
    values = tuple(series.values[piece])
    return values == known.values[piece] and tuple(series.labels[piece]) == known.labels[piece]


def header(metric: Metric, fmt: Format) -> bytes:
    """Return the HELP and TYPE lines."""
    name = metric.name
    if fmt == "openmetrics" and metric.kind == "counter":
        name = name.removesuffix("_total")
    text = metric.help.replace("\\", "\\\\").replace("\n", "\\n")
    return f"# HELP {name} {text}\n# TYPE {name} {metric.kind}\n".encode()


NO_BLOCK = Block()

HEADERS: Mapping[Format, Mapping[str, CompressedPart]] = {
    "text": {metric.name: part(header(metric, "text")) for metric in CATALOGUE},
    "openmetrics": {metric.name: part(header(metric, "openmetrics")) for metric in CATALOGUE},
}


@dataclass(frozen=True, slots=True)
class ScrapeResponse:
    """The response to a scrape."""

    content_type: str
    encoding: str | None
    chunks: tuple[bytes | CompressedPart, ...]
    """Without an encoding, parts that have to be unpacked."""

    def content(self) -> Iterator[bytes]:
        """Yield the bytes."""
        for chunk in self.chunks:
            yield chunk if isinstance(chunk, bytes) else chunk.plain()


class Exposition:
    """Keeps the blocks of every source and builds responses from them.

    Safe to use from many threads.
    """

    def __init__(self, own: Callable[[Format], bytes]) -> None:
        """`own` renders the exporter's own metrics, without `# EOF`.

        It is called at each scrape.
        """
        self._own = own
        self.left_out = 0
        """Number of values that Prometheus could not read. Each counts at every update."""
        self._log = structlog.get_logger(__name__)
        self._logged = LogLimiter()
        self._lock = threading.Lock()
        self._blocks: dict[str, dict[str, Block]] = {}
        """Source to metric to block. The inner mappings are replaced, never changed."""
        self._generation = 0
        """Increased with each change."""
        self._assembly = threading.Lock()
        """Serializes assembly: of two scrapes after a change, one assembles the blocks and the
        other reuses the result.
        """
        self._plain: dict[Format, tuple[int, tuple[CompressedPart, ...]]] = {}
        self._zipped: dict[Format, tuple[int, GzipStream]] = {}
        """The last assembled exposition, and its generation."""

    def update(
        self,
        source: str,
        families: Iterable[Series],
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Replace the blocks of the source; unchanged ones are not compressed again.

        `wanted` is called at the last moment, under the lock, so that no `remove` can come between.
        """
        before = self._blocks.get(source, {})
        after: dict[str, Block] = {}
        for family in families:
            block = self._block(family, before.get(family.name, NO_BLOCK))
            if block.parts:
                after[family.name] = block
        with self._lock:
            if wanted():
                self._blocks[source] = after
                self._generation += 1

    def remove(self, source: str, wanted: Callable[[], bool] = lambda: True) -> None:
        """Remove the blocks of the source; `wanted` is called at the last moment."""
        with self._lock:
            if wanted() and self._blocks.pop(source, None) is not None:
                self._generation += 1

    def response(self, accept: str, accept_encoding: str) -> ScrapeResponse:
        """Return the exposition in the format and encoding that the client prefers."""
        fmt: Format = "openmetrics" if accepts_openmetrics(accept) else "text"
        own = self._own(fmt) + (b"# EOF\n" if fmt == "openmetrics" else b"")
        if accepts_gzip(accept_encoding):
            stream_now = self._current(self._zipped, fmt, stream)
            return ScrapeResponse(CONTENT_TYPES[fmt], "gzip", stream_now.ended_by(own))
        return ScrapeResponse(
            CONTENT_TYPES[fmt], None, (*self._current(self._plain, fmt, tuple), own)
        )

    def _block(self, family: Series, known: Block) -> Block:
        """Return the block of a metric. Lines of values that did not change are not made again."""
        labels, values = tuple(family.labels), tuple(family.values)
        if known.is_whole and labels == known.labels and values == known.values:
            return known
        left_out = self.left_out
        parts = tuple(render(family, partial(self._leave_out, family.name), known))
        return Block(parts, labels, values, is_whole=left_out == self.left_out)

    def _leave_out(self, metric: str, labels: Sequence[str]) -> None:
        with self._lock:
            self.left_out += len(labels)
            allowed = self._logged.allows(metric, time.monotonic())
        if allowed:
            self._log.error(
                "page.values_out_of_range",
                metric=metric,
                count=len(labels),
                first=labels[0].strip(),
            )

    def _current(
        self,
        made: dict[Format, tuple[int, Whole]],
        fmt: Format,
        make: Callable[[Iterable[CompressedPart]], Whole],
    ) -> Whole:
        """Return the result of `make` for all blocks in order.

        It is shared by all scrapes until the next change.
        """
        with self._assembly:
            with self._lock:
                generation = self._generation
                known = made.get(fmt)
                if known is not None and known[0] == generation:
                    return known[1]
                sources = list(self._blocks.values())
            whole = make(_in_order(sources, HEADERS[fmt]))
            made[fmt] = generation, whole
            return whole


def _in_order(
    sources: Iterable[Mapping[str, Block]], headers: Mapping[str, CompressedPart]
) -> Iterator[CompressedPart]:
    """Yield each metric's header and its blocks from all sources, in the catalogue's order."""
    by_metric: dict[str, list[CompressedPart]] = {}
    for blocks in sources:
        for name, each in blocks.items():
            by_metric.setdefault(name, []).extend(each.parts)
    for name, line in headers.items():
        found = by_metric.get(name)
        if found is not None:
            yield line
            yield from found


def accepts_openmetrics(header: str) -> bool:
    """Return whether an Accept header names OpenMetrics.

    Every client of any version can read version 1.0.0.
    """
    choices = header.lower().split(",")
    return any(c.partition(";")[0].strip() == "application/openmetrics-text" for c in choices)


def accepts_gzip(header: str) -> bool:
    """Return whether an Accept-Encoding header allows gzip (RFC 9110, 12.5.3)."""
    best: dict[str, float] = {}
    for choice in header.lower().split(","):
        coding, _, parameter = choice.strip().partition(";")
        quality = parameter.strip().removeprefix("q=") if parameter else "1"
        try:
            best[coding.strip()] = float(quality)
        except ValueError:
            best[coding.strip()] = 0.0
    return best.get("gzip", best.get("*", 0.0)) > 0
