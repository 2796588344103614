"""Builds Grafana's JSON of a dashboard with Grafana's own types.

The schema is that of version 11.6, which later versions can read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grafana_foundation_sdk.builders import (
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from mixin.boards.model import LINKS, Board, Kind, Panel, Query, Row, Variable

DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
OVERRIDES: dict[str, Any] = {
    "color": {"mode": "fixed", "fixedColor": "red"},
    "custom.lineStyle": {"fill": "dash", "dash": [8, 6]},
    "custom.lineWidth": 1,
    "custom.fillOpacity": 0,
    "custom.stacking": {"mode": "none"},
}
"""Overrides that draw a line as a threshold."""
SCRAPING = ("Time", "job", "cluster", "namespace", "container", "endpoint", "service", "__name__")
"""Labels added by the scrape, which are not shown as columns."""
NEVER = models.RangeMap(
    options=models.DashboardRangeMapOptions(
        from_val=1e12, result=models.ValueMappingResult(text="never")
    )
)
"""Text for `+Inf` seconds."""
SUBSCRIPTION_LINK = "/d/mq-subscription?${datasource:queryparam}&" + "&".join(
    f"var-{name}=${{__data.fields.{name}:percentencode}}"
    for name in ("system", "source", "vhost", "destination", "group")
)


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
    for number, each in enumerate(board.content, 1):
        if isinstance(each, Row):
            made.with_row(boards.Row(each.title).id(number))
        else:
            made.with_panel(_panel(each).id(number))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


def _variable(variable: Variable) -> boards.QueryVariable:
    query: dict[str, object] = {
        "query": f"label_values({variable.metric},{variable.label})",
        "refId": f"variable-{variable.label}",
    }
    made = (
        boards.QueryVariable(variable.label)
        .label(variable.label)
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
    """Marks when an alert of the selection began to fire."""
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
        .expr(f"max by (alertname, severity) (ALERTS{{{matchers}}})")
    )


def _panel(panel: Panel) -> Any:
    make = {
        "line": _lines,
        "stack": _lines,
        "stat": _stat,
        "table": _table,
        "heat": _heat,
        "states": _states,
    }[panel.kind]
    made: Any = make(panel)
    made.title(panel.title).description(panel.description).datasource(DATASOURCE)
    made.span(panel.width).height(panel.height)
    for index, query in enumerate(panel.queries):
        made.with_target(_target(query, chr(ord("A") + index), panel.kind))
    return made


def _target(query: Query, ref: str, kind: Kind) -> prometheus.Dataquery:
    made = prometheus.Dataquery().expr(query.expr).ref_id(ref).datasource(DATASOURCE)
    if query.legend:
        made.legend_format(query.legend)
    if kind in ("table", "stat"):
        made.instant()
    else:
        made.range()
    if kind == "table":
        return made.format(PromQueryFormat.TABLE)
    return made.format(PromQueryFormat.HEATMAP) if kind == "heat" else made


def _lines(panel: Panel) -> timeseries.Panel:
    legend = (
        common.VizLegendOptions()
        .display_mode(shapes.LegendDisplayMode.TABLE)
        .placement(shapes.LegendPlacement.BOTTOM)
        .show_legend(True)  # noqa: FBT003
        .calcs(["lastNotNull", "max"])
    )
    tooltip = (
        common.VizTooltipOptions()
        .mode(shapes.TooltipDisplayMode.MULTI)
        .sort(shapes.SortOrder.DESCENDING)
    )
    made = (
        timeseries.Panel()
        .unit(panel.unit)
        .min(0)
        .legend(legend)
        .tooltip(tooltip)
        .show_points(shapes.VisibilityMode.NEVER)
        .line_width(1)
        .fill_opacity(40 if panel.kind == "stack" else 8)
    )
    if panel.kind == "stack":
        made.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A"))
    for index, query in enumerate(panel.queries):
        if query.limit:
            made.override_by_query(chr(ord("A") + index), _values(OVERRIDES))
    return made


def _stat(panel: Panel) -> stat.Panel:
    steps = [models.Threshold(value=None, color="text" if panel.bad is None else "green")]
    if panel.bad is not None:
        steps.append(models.Threshold(value=panel.bad, color="red"))
    thresholds = boards.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)
    shows = shapes.BigValueTextMode.NAME if panel.words else shapes.BigValueTextMode.VALUE
    return (
        stat.Panel()
        .unit(panel.unit)
        .mappings([NEVER] if panel.unit == "s" else [])
        .thresholds(thresholds)
        .text_mode(shows)
        .graph_mode(shapes.BigValueGraphMode.NONE)
        .color_mode(shapes.BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("none" if panel.may_be_empty else "no data")
    )


def _table(panel: Panel) -> table.Panel:
    # Names stay texts: a topic may be called 2024, and links contain the shown text
    made = table.Panel().unit("string")
    hidden = (*SCRAPING, *panel.hides)
    excluded = dict.fromkeys(hidden, True)
    renamed: dict[str, str] = {}
    for index, query in enumerate(panel.queries):
        raw = f"Value #{chr(ord('A') + index)}" if len(panel.queries) > 1 else "Value"
        if not query.column:
            excluded[raw] = True
            continue
        renamed[raw] = query.column
        # Without other queries, Grafana calls the column Value
        renamed.setdefault("Value", query.column)
        unit = query.unit or panel.unit
        never = {"mappings": [NEVER]} if unit == "s" else {}
        shown = {"unit": unit, "noValue": "-", **never}
        made.override_by_name(query.column, _values(shown))
    if len(panel.queries) > 1:
        # Rows are merged if all their common labels are equal, but names of metrics are not
        made.with_transformation(_organize(dict.fromkeys(("Time", "__name__"), True)))
        made.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    made.with_transformation(_organize(excluded, renamed))
    link = {"title": "This subscription", "url": SUBSCRIPTION_LINK}
    if any("destination" in query.expr or "subscription:" in query.expr for query in panel.queries):
        for name in ("destination", "group"):
            made.override_by_name(name, _values({"links": [link]}))
    return made


def _organize(
    excluded: Mapping[str, bool], renamed: Mapping[str, str] | None = None
) -> models.DataTransformerConfig:
    options = {"excludeByName": excluded, "renameByName": renamed or {}, "indexByName": {}}
    return models.DataTransformerConfig(id_val="organize", options=options)


def _heat(panel: Panel) -> heatmap.Panel:
    return (
        heatmap.Panel()
        .unit("short")
        .calculate(False)  # noqa: FBT003
        .y_axis(heatmap.YAxisConfig().unit(panel.unit))
        .color(
            # A value that is not set would be 0 and "", which is not a colour
            heatmap.HeatmapColorOptions()
            .scheme("Blues")
            .mode(HeatmapColorMode.SCHEME)
            .steps(64)
            .exponent(0.5)
            .fill("blue")
        )
    )


def _states(panel: Panel) -> statetimeline.Panel:
    made = (
        statetimeline.Panel()
        .unit(panel.unit)
        .mappings([_stripe("green" if panel.good else "orange")])
        .show_value(shapes.VisibilityMode.NEVER)
        .merge_values(True)  # noqa: FBT003
        .row_height(0.8)
        .no_value("none")
    )
    return made.override_by_name("ok", _values({"mappings": [_stripe("green")]}))


def _stripe(colour: str) -> models.ValueMap:
    """How a 1 is drawn: a colour without text."""
    return models.ValueMap(
        options={"1": models.ValueMappingResult(text=" ", color=colour, index=0)}
    )


def _values(values: dict[str, Any]) -> list[models.DynamicConfigValue]:
    return [models.DynamicConfigValue(id_val=key, value=value) for key, value in values.items()]
