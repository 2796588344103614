"""Draws a run as SVG: the load, the backlog and the number of consumers over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

WIDTH, HEIGHT, LEFT, TOP, GAP = 860, 130, 70, 34, 40
COLOURS = ("#1f6feb", "#d1242f", "#9a6700", "#6e7781")


class Point(NamedTuple):
    """One moment of a run."""

    at: float
    consumers: int
    age: float


def picture(title: str, runs: Mapping[str, Sequence[Point]], target: float) -> str:
    """Return two diagrams, one below the other: consumers, and the age of the oldest message."""
    names = list(runs)
    legend = "".join(
        f'<text x="{LEFT + 190 * n}" y="{TOP - 4}" fill="{COLOURS[n]}">{name}</text>'
        for n, name in enumerate(names)
    )
    drawn = [
        _diagram("consumers", [[(p.at, p.consumers) for p in runs[name]] for name in names], 0),
        _diagram(
            "age, s", [[(p.at, p.age) for p in runs[name]] for name in names], 1, limit=target
        ),
    ]
    height = TOP + 2 * (HEIGHT + GAP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {height}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="{LEFT}" y="14" font-weight="bold">{title}</text>{legend}{"".join(drawn)}</svg>\n'
    )


def _diagram(
    what: str, lines: Sequence[Sequence[tuple[float, float]]], place: int, limit: float = 0.0
) -> str:
    top = TOP + 6 + place * (HEIGHT + GAP)
    most = max([limit, *(value for line in lines for _, value in line)]) or 1.0
    end = max(at for line in lines for at, _ in line)

    def where(at: float, value: float) -> str:
        return f"{LEFT + WIDTH * at / end:.1f},{top + HEIGHT * (1 - value / most):.1f}"

    drawn = [
        f'<polyline fill="none" stroke="{COLOURS[n]}" stroke-width="1.5" '
        f'points="{" ".join(where(at, value) for at, value in line)}"/>'
        for n, line in enumerate(lines)
    ]
    drawn += [
        f'<text x="{LEFT - 6}" y="{top + HEIGHT * (1 - share) + 4:.0f}" text-anchor="end">'
        f"{most * share:,.0f}</text>"
        for share in (0.0, 0.5, 1.0)
    ]
    drawn += [
        f'<text x="{LEFT + WIDTH * part / 4:.0f}" y="{top + HEIGHT + 16}" text-anchor="middle">'
        f"{end * part / 4 / 60:.0f} min</text>"
        for part in range(5)
    ]
    if limit:
        at = top + HEIGHT * (1 - limit / most)
        drawn.append(
            f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{at:.1f}" y2="{at:.1f}" '
            f'stroke="#57606a" stroke-dasharray="4 4"/>'
        )
    middle = round(top + HEIGHT / 2)
    return (
        f'<text x="14" y="{middle}" transform="rotate(-90 14 {middle})" text-anchor="middle">'
        f"{what}</text>{''.join(drawn)}"
    )
