"""Makes the JSON of a dashboard with Grafana's own types.

It has the schema of version 11.6, which later versions read.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from mixin.boards.model import LINKS, Board, Kind, Panel, Query, Row, Variable
from mixin.boards.panels import draw

DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")


def text_of(board: Board) -> str:
    """Return the dashboard as the text of its file."""
    made = (
        boards.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(["mq-lag-exporter"])
        .timezone("browser")
        .refresh("30s")
        .time("now-1h", "now")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .editable()
    )
    for uid, title in LINKS.items():
        if uid != board.uid:
            link = boards.DashboardLink(title).type(models.DashboardLinkType.LINK).url(f"/d/{uid}")
            made.link(link.keep_time(True).include_vars(True))  # noqa: FBT003 - the builder's way
    made.with_variable(
        boards.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    )
    for variable in board.variables:
        made.with_variable(_variable(variable))
    made.annotation(_alerts(board))
    numbers = itertools.count(1)
    for row, panels in _sections(board):
        drawn = [_panel(panel).id(next(numbers)) for panel in panels]
        if row is not None:
            made.with_row(_row(row, drawn).id(next(numbers)))
        for panel in drawn if row is None or not row.folded else ():
            made.with_panel(panel)
    encoded = json.loads(JSONEncoder().encode(made.build()))
    for annotation in encoded["annotations"]["list"]:
        # Prometheus' own fields of an annotation, which Grafana's types do not have
        annotation.update(titleFormat="{{alertname}}", tagKeys="severity", step="60s")
    return json.dumps(encoded, sort_keys=True, indent=2) + "\n"


def _sections(board: Board) -> Iterator[tuple[Row | None, list[Panel]]]:
    """Yield each row with its panels; the first panels have no row."""
    row: Row | None = None
    panels: list[Panel] = []
    for each in board.content:
        if isinstance(each, Row):
            if row is not None or panels:
                yield row, panels
            row, panels = each, []
        else:
            panels.append(each)
    yield row, panels


def _row(row: Row, panels: list[Any]) -> boards.Row:
    made = boards.Row(row.title)
    if row.folded:
        made.collapsed(collapsed=True)
        for panel in panels:
            made.with_panel(panel)
    return made


def _variable(variable: Variable) -> boards.QueryVariable:
    query: dict[str, object] = {
        "query": f"label_values({variable.metric},{variable.label})",
        "refId": f"variable-{variable.label}",
    }
    made = (
        boards.QueryVariable(variable.label)
        .label(variable.title or variable.label)
        .datasource(DATASOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
        .multi(variable.several)
        .include_all(variable.every)
    )
    if variable.every:
        made.all_value(".*")
        made.current(models.VariableOption(selected=True, text="All", value="$__all"))
    return made


def _alerts(board: Board) -> boards.AnnotationQuery:
    """Return the marks of when an alert began to fire, with its name."""
    chosen = [f'{name}=~"${name}"' for name in (each.label for each in board.variables)]
    if board.system:
        chosen.insert(0, f'system="{board.system}"')
    matchers = ",".join(['alertname=~"Mq.+"', 'alertstate="firing"', *chosen])
    return (
        boards.AnnotationQuery()
        .name("Alerts")
        .datasource(DATASOURCE)
        .enable(True)  # noqa: FBT003
        .icon_color("red")
        .expr(
            f"max by (alertname, severity) (ALERTS{{{matchers}}}) "
            f"unless max by (alertname, severity) (ALERTS{{{matchers}}} offset 1m)"
        )
    )


def _panel(panel: Panel) -> Any:
    made = draw(panel)
    made.title(panel.title).description(panel.description).datasource(DATASOURCE)
    made.span(panel.width).height(panel.height)
    for index, query in enumerate(panel.queries):
        made.with_target(_target(query, chr(ord("A") + index), panel.kind))
    return made


def _target(query: Query, ref: str, kind: Kind) -> prometheus.Dataquery:
    made = prometheus.Dataquery().expr(query.expr).ref_id(ref).datasource(DATASOURCE)
    if query.legend:
        made.legend_format(query.legend)
    if kind in ("stat", "table"):
        # The last value of a range may be one of a series that ended long ago
        made.instant()
    else:
        made.range()
    if kind == "table":
        return made.format(PromQueryFormat.TABLE)
    return made.format(PromQueryFormat.HEATMAP) if kind == "heat" else made
