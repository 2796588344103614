"""The page at `/`: where to look, and what lags most."""

from __future__ import annotations

from html import escape
from typing import Any

from exporter import __version__
from exporter.readable import age, loss, names, number, plain, standing

ROWS = 100
STYLE = """
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}
body{max-width:70rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #8884;overflow-wrap:anywhere}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.bad{color:#c33}
"""


def landing_page(overview: dict[str, Any]) -> str:
    """Return the page as HTML; every name in it is escaped."""
    subscriptions = overview["subscriptions"]
    shown = subscriptions[:ROWS]
    losses = any(map(loss, shown))
    more = len(subscriptions) - ROWS
    note = (
        f"<p>… and {more} more, in the <a href='api/v1/subscriptions'>JSON</a>.</p>"
        if more > 0
        else ""
    )
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'><meta http-equiv='refresh' content='10'>"
        f"<title>mq-lag-exporter</title><style>{STYLE}</style>"
        f"<h1>mq-lag-exporter {escape(__version__)}</h1>"
        "<p><a href='metrics'>/metrics</a> · <a href='api/v1/subscriptions'>/api/v1/subscriptions</a> · "
        "<a href='-/healthy'>/-/healthy</a> · <a href='-/ready'>/-/ready</a></p>"
        "<h2>Sources</h2><table><tr><th>source<th>system<th>state<th class='n'>series"
        + "".join(map(_source, overview["sources"]))
        + "</table><h2>Subscriptions, most lagging first</h2><table><tr><th>source<th>destination<th>group"
        "<th class='n'>lag<th class='n'>age"
        + ("<th class='n'>loss in" if losses else "")
        + "<th class='n'>produced/s<th class='n'>consumed/s<th class='n'>consumers<th>status<th>why"
        + "".join(_subscription(row, losses=losses) for row in shown)
        + f"</table>{note}</html>"
    )


def _source(row: dict[str, Any]) -> str:
    state = (
        "up" if row["up"] else f"<span class='bad'>{escape(row['reason'] or 'not yet read')}</span>"
    )
    if row["message"]:
        state += f": {escape(row['message'])}"
    for alarm in row.get("alarms", ()):
        state += f"<br><span class='bad'>{escape(alarm)}</span>"
    return (
        f"<tr><td>{escape(row['source'])}<td>{escape(row['system'])}<td>{state}"
        f"<td class='n'>{row['series']}"
    )


def _subscription(row: dict[str, Any], *, losses: bool) -> str:
    late = "n bad" if standing(row) == "bad" else "n"
    cells = [
        (late, number(row["lag_messages"], 0)),
        (late, age(row)),
        *([("n bad", loss(row))] if losses else []),
        ("n", number(row["produced_messages_per_second"], 1)),
        ("n", number(row["consumed_messages_per_second"], 1)),
        ("n", number(row["consumers"], 0)),
    ]
    evidence = row["causes"][0]["evidence"] if row["causes"] else ""
    why = f"{plain(row['cause'])}: {evidence}" if evidence else ""
    judged = f"<td class='{late.removeprefix('n').strip()}'>{escape(plain(row['status']))}<td>{escape(why)}"
    named = "".join(f"<td>{escape(name)}" for name in names(row))
    numbers = "".join(f"<td class='{kind}'>{text}" for kind, text in cells)
    return f"<tr>{named}{numbers}{judged}"
