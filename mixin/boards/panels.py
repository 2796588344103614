"""Draws panels with Grafana's own types: time series, stats, tables, heat maps, state timelines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import (
    common,
    heatmap,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode

from exporter.show.links import RUNBOOKS
from mixin.boards.model import PLACE, Panel

OVERRIDES: dict[str, Any] = {
    "color": {"mode": "fixed", "fixedColor": "red"},
    "custom.lineStyle": {"fill": "dash", "dash": [8, 6]},
    "custom.lineWidth": 1,
    "custom.fillOpacity": 0,
    "custom.stacking": {"mode": "none"},
}
"""How a threshold is drawn."""
SCRAPING = ("Time", "job", "container", "endpoint", "service", "__name__")
"""Labels of the scrape, and others that are never a column."""
SUBSCRIPTION = ("cluster", "namespace", "system", "source", "vhost", "destination", "group")
"""Labels that a link to a subscription needs, and variables of its dashboard."""
HIDEABLE = (
    *SUBSCRIPTION,
    *("status", "cause", "kind", "reason", "method", "state", "alertname", "held"),
    *("node", "task", "partition"),
)
WIDTHS: Mapping[str, int] = {
    "status": 104,
    "cause": 118,
    "group": 72,
    "destination": 98,
    PLACE: 66,
    "system": 82,
    "severity": 75,
    "alertname": 190,
    "subject": 110,
    "kind": 90,
    "partition": 80,
    "reason": 110,
    "method": 110,
    "lag": 58,
    "age": 70,
    "for": 70,
    "in /s": 52,
    "out /s": 54,
    "consumers": 94,
    "advised": 76,
    "capacity /s": 98,
    "held": 110,
    "drained in": 90,
    "deleted in": 90,
    "partitions": 92,
    "messages": 94,
    "subscriptions": 110,
    "log start": 110,
    "log end": 110,
    "committed": 110,
    "last data": 84,
    "nodes up": 84,
    "lag is an upper bound": 150,
    "unreadable partitions": 150,
    "messages past the log end": 180,
}
"""Pixels of columns. Grafana gives each other column 150."""
PLACE_HEADING = "where"
BELOW = 2
"""Rows of a table that fit below a diagram of the usual height."""
NARROW = 68
"""Pixels of a column with a number."""
GROWS = frozenset({"cause", "group", "destination", PLACE, "subject"})
"""Columns that take what is left of the width."""
NEVER = models.ValueMap(options={"Infinity": models.ValueMappingResult(text="never", index=0)})
"""The text for `+Inf` seconds. A range without an end matches nothing in Grafana."""
LONG_WORD, SHORT_WORD = r"/(\S{8})\S{4,}(\S{7})/g", "$1…$2"
"""What is cut out of names in a legend. Otherwise long ones hide the values beside them."""
SUBSCRIPTION_LINK = "/d/mq-subscription?${__url_time_range}&${datasource:queryparam}&" + "&".join(
    f"var-{name}=${{__data.fields.{name}:percentencode}}" for name in SUBSCRIPTION
)


def draw(panel: Panel) -> Any:
    """Return the builder of a panel, without title, place and queries."""
    make = {
        "line": _lines,
        "stack": _lines,
        "stat": _stat,
        "table": _table,
        "heat": _heat,
        "states": _states,
    }[panel.kind]
    made: Any = make(panel)
    return made


def _lines(panel: Panel) -> timeseries.Panel:
    tooltip = (
        common.VizTooltipOptions()
        .mode(shapes.TooltipDisplayMode.MULTI)
        .sort(shapes.SortOrder.DESCENDING)
    )
    made = (
        timeseries.Panel()
        .unit(panel.unit)
        .min(0)
        .legend(_legend(panel))
        .tooltip(tooltip)
        .show_points(shapes.VisibilityMode.NEVER)
        .line_width(1)
        .fill_opacity(40 if panel.kind == "stack" else 8)
    )
    if panel.decimals is not None:
        made.decimals(panel.decimals)
    if panel.unit in ("short", "mps"):
        # Or nothing but zeros would have an axis up to 100
        made.axis_soft_max(1)
    if panel.may_be_empty:
        made.no_value("none")
    if panel.kind == "stack":
        made.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A"))
    for index, query in enumerate(panel.queries):
        if query.limit:
            made.override_by_query(chr(ord("A") + index), _values(OVERRIDES))
    for name, colour in panel.colours.items():
        made.override_by_name(name, _values(_fixed(colour)))
    if _has_names(panel):
        made.with_transformation(_shortened())
    return made


def _has_names(panel: Panel) -> bool:
    """Return whether the legend has names of users' things: of any number and length."""
    return any("{{" in query.legend for query in panel.queries)


def _shortened() -> models.DataTransformerConfig:
    """Return a transformation that cuts the middle of each long word of a series' name."""
    options = {"regex": LONG_WORD, "renamePattern": SHORT_WORD}
    return models.DataTransformerConfig(id_val="renameByRegex", options=options)


def _legend(panel: Panel) -> common.VizLegendOptions:
    """Return the names of the lines, where there is space for them."""
    legend = (
        common.VizLegendOptions()
        .show_legend(True)  # noqa: FBT003
        .sort_by("Last *")
        .sort_desc(True)  # noqa: FBT003
    )
    if _has_names(panel):
        # Nobody knows how many: they get the height of the panel, and the width of names and numbers,
        # of which Grafana gives them at most 60%
        return (
            legend.display_mode(shapes.LegendDisplayMode.TABLE)
            .placement(shapes.LegendPlacement.RIGHT)
            .calcs(["lastNotNull"])
        )
    few = len(panel.queries) <= BELOW
    mode = shapes.LegendDisplayMode.TABLE if few else shapes.LegendDisplayMode.LIST
    legend.display_mode(mode).placement(shapes.LegendPlacement.BOTTOM)
    return legend.calcs(["lastNotNull", "max"])


def _fixed(colour: str) -> dict[str, Any]:
    return {"color": {"mode": "fixed", "fixedColor": colour}}


def _stat(panel: Panel) -> stat.Panel:
    steps = [models.Threshold(value=None, color="text")]
    if panel.bad is not None:
        steps = [
            models.Threshold(value=None, color="green"),
            models.Threshold(value=panel.bad, color="red"),
        ]
        if panel.doubtful is not None:
            steps.insert(1, models.Threshold(value=panel.doubtful, color="orange"))
    elif panel.bad_below is not None:
        steps = [
            models.Threshold(value=None, color="red"),
            models.Threshold(value=panel.bad_below, color="text"),
        ]
    thresholds = boards.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)
    shows = shapes.BigValueTextMode.VALUE
    if panel.words:
        shows = shapes.BigValueTextMode.NAME
    elif panel.named:
        shows = shapes.BigValueTextMode.VALUE_AND_NAME
    made = (
        stat.Panel()
        .unit(panel.unit)
        .mappings([NEVER] if panel.unit == "s" else [])
        .thresholds(thresholds)
        .text_mode(shows)
        .graph_mode(shapes.BigValueGraphMode.NONE)
        .color_mode(shapes.BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["last"]))
        .no_value("none" if panel.may_be_empty else "no data")
    )
    if panel.decimals is not None:
        made.decimals(panel.decimals)
    for name, colour in panel.colours.items():
        made.override_by_name(name, _values(_fixed(colour)))
    return made


def _table(panel: Panel) -> table.Panel:
    # Names stay as they are: a topic may be called 2024, and links have what is shown
    made = table.Panel().unit("string").min_width(50).no_value("none")
    excluded = dict.fromkeys(SCRAPING, True)
    renamed: dict[str, str] = {"alertname": "alert", PLACE: PLACE_HEADING}
    raw_names: dict[str, str] = {}
    for index, query in enumerate(panel.queries):
        raw = f"Value #{chr(ord('A') + index)}" if len(panel.queries) > 1 else "Value"
        if not query.column:
            excluded[raw] = True
            continue
        renamed[raw] = query.column
        raw_names[query.column] = raw
        # If the other queries found nothing, Grafana calls the column Value
        renamed.setdefault("Value", query.column)
        unit = query.unit or panel.unit
        shown: dict[str, Any] = {"unit": unit, "noValue": "-", "custom.align": "right"}
        if unit == "s":
            shown |= {"mappings": [NEVER], "decimals": 1}
        elif panel.decimals is not None:
            shown["decimals"] = panel.decimals
        made.override_by_name(query.column, _values(shown))
    if len(panel.queries) > 1:
        # Rows are merged if all their common labels are equal, and names of metrics are not
        made.with_transformation(_organize(dict.fromkeys(("Time", "__name__"), True)))
        made.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    order = [raw_names.get(name, name) for name in panel.columns]
    made.with_transformation(_organize(excluded, renamed, order))
    for name in HIDEABLE:
        if name not in panel.columns:
            # Hidden, not excluded: links use their values
            made.override_by_name(renamed.get(name, name), _values({"custom.hidden": True}))
    for name in panel.columns:
        made.override_by_name(renamed.get(name, name), _values(_column(name, panel)))
    if panel.sorted_by:
        by = common.TableSortByFieldState().display_name(panel.sorted_by).desc(panel.descending)
        made.sort_by([by])
    return made


def _column(name: str, panel: Panel) -> dict[str, Any]:
    """Return how a column looks: its width, the colours of its words, its links."""
    grows = name in GROWS or not GROWS.intersection(panel.columns)
    shown: dict[str, Any] = {
        "custom.minWidth" if grows else "custom.width": WIDTHS.get(name, NARROW),
        "noValue": "-",
    }
    if name in ("status", "severity"):
        shown["mappings"] = [_words(panel.colours)]
        shown["custom.cellOptions"] = {"type": "color-text"}
    if name == "alertname":
        shown["links"] = [{"title": "Runbook", "url": RUNBOOKS + "${__value.raw}.md"}]
    if name in ("destination", "group") and "group" in panel.columns:
        shown["links"] = [{"title": "This subscription", "url": SUBSCRIPTION_LINK}]
    return shown


def _words(colours: Mapping[str, str]) -> models.ValueMap:
    """Return the colours of words in a table."""
    return models.ValueMap(
        options={
            name: models.ValueMappingResult(color=colour, index=index)
            for index, (name, colour) in enumerate(colours.items())
        }
    )


def _organize(
    excluded: Mapping[str, bool],
    renamed: Mapping[str, str] | None = None,
    order: Sequence[str] = (),
) -> models.DataTransformerConfig:
    options = {
        "excludeByName": excluded,
        "renameByName": renamed or {},
        "indexByName": {name: index for index, name in enumerate(order)},
    }
    return models.DataTransformerConfig(id_val="organize", options=options)


def _heat(panel: Panel) -> heatmap.Panel:
    return (
        heatmap.Panel()
        .unit("short")
        .calculate(False)  # noqa: FBT003
        .y_axis(heatmap.YAxisConfig().unit(panel.unit))
        .color(
            # What is not said would be 0 and "", which is no colour at all
            heatmap.HeatmapColorOptions()
            .scheme("Blues")
            .mode(HeatmapColorMode.SCHEME)
            .steps(64)
            .exponent(0.5)
            .fill("blue")
        )
    )


def _states(panel: Panel) -> statetimeline.Panel:
    """A stripe is green at 1 and red at 0; a series with a colour of its own has it at 1."""
    made = (
        statetimeline.Panel()
        .unit(panel.unit)
        .mappings([_stripe("green")])
        .show_value(shapes.VisibilityMode.NEVER)
        .merge_values(True)  # noqa: FBT003
        .row_height(0.8)
        .no_value("none")
    )
    for name, colour in panel.colours.items():
        stripe = _values({"mappings": [_stripe(colour)]})
        if name.startswith("/"):
            made.override_by_regexp(name, stripe)
        else:
            made.override_by_name(name, stripe)
    return made


def _stripe(colour: str) -> models.ValueMap:
    """Return what 0 and 1 look like: a colour, and no text."""
    return models.ValueMap(
        options={
            "1": models.ValueMappingResult(text=" ", color=colour, index=0),
            "0": models.ValueMappingResult(text=" ", color="red", index=1),
        }
    )


def _values(values: dict[str, Any]) -> list[models.DynamicConfigValue]:
    return [models.DynamicConfigValue(id_val=key, value=value) for key, value in values.items()]
