"""The dashboard files: made by the code with Grafana's own types, following the house rules."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from exporter.catalogue import BY_NAME, CATALOGUE
from exporter.model import STATUSES
from mixin.boards.model import STATUS_COLOURS
from mixin.boards.panels import LONG_WORD, SHORT_WORD

ROOT = Path(__file__).parent.parent.parent
MENU, MARGIN = 300, 16
"""Pixels of Grafana's docked menu and of the margins of panels."""
FILES = sorted((ROOT / "dashboards").glob("*.json"))
RECORDED = {
    rule["record"]
    for group in yaml.safe_load((ROOT / "alerts" / "recording.yml").read_text())["groups"]
    for rule in group["rules"]
}
NOT_SHOWN = {
    *("mq_produced_messages_per_second", "mq_subscription_produced_messages_per_second"),
    *("mq_consumed_messages_per_second", "mq_consumers_expected"),
    *("mq_threshold_stop_seconds", "mq_threshold_consume_ratio"),
    *("mq_log_lines_dropped_total", "mq_values_out_of_range_total"),
    "mq_consumed_messages_per_second_lower_bound",
    "mq_keda_requests_total",
}
"""Metrics that are left out on purpose.

Rates over a window are for users without Prometheus. Thresholds are settings that alerts use. Gaps
in the log and in `/metrics` are noticed by those who read them. KEDA has metrics of its own.
"""
BOUNDED = re.compile(
    r"topk\(|bottomk\(|\b(sum|count|max|min) by|^(sum|count|max|min)\(|histogram_quantile|^vector\("
)
SCRAPING = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
OTHERS = {
    "mq_config_last_reload_successful",
    "ALERTS",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "mq_exporter_build_info",
}


def board(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def everything(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return rows and panels, including those of folded rows."""
    return [each for top in found["panels"] for each in (top, *top.get("panels", ()))]


def panels(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in everything(found) if panel["type"] != "row"]


def overrides(panel: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the properties of a column, a series or a query, by name."""
    found: dict[str, dict[str, Any]] = {}
    for each in panel["fieldConfig"]["overrides"]:
        properties = {item["id"]: item["value"] for item in each["properties"]}
        found.setdefault(each["matcher"]["options"], {}).update(properties)
    return found


def expressions(found: dict[str, Any]) -> list[str]:
    queries = [target["expr"] for panel in panels(found) for target in panel["targets"]]
    variables = [
        each["query"]["query"] for each in found["templating"]["list"] if each["type"] == "query"
    ]
    return queries + variables + [each["expr"] for each in found["annotations"]["list"]]


def metrics(text: str) -> set[str]:
    """Return names of metrics: recorded ones, and others without labels and functions."""
    bare = re.sub(r'"[^"]*"', '""', text)
    names = set(re.findall(r"[a-z_]+:[a-z_]+:[a-z_0-9]+", bare))
    bare = re.sub(r"[a-z_]+:[a-z_]+:[a-z_0-9]+", "", bare)
    return names | set(re.findall(r"\b(?:mq|process|scrape)_[a-z_]+\b|\bALERTS\b", bare))


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def test_all_eight_are_there() -> None:
    assert [path.stem for path in FILES] == [
        *("mq-exporter", "mq-kafka", "mq-nsq", "mq-overview"),
        *("mq-probes", "mq-rabbitmq", "mq-scaling", "mq-subscription"),
    ]


def test_grafana_s_own_types_read_it_and_write_the_same(path: Path) -> None:
    found = board(path)
    for annotation in found["annotations"]["list"]:
        # From the Prometheus plugin: Grafana's own types do not have these
        for name in ("titleFormat", "tagKeys", "step"):
            del annotation[name]
    again = JSONEncoder(sort_keys=True, indent=2).encode(Dashboard.from_json(found))
    assert json.loads(again) == found


def test_it_is_called_by_its_address(path: Path) -> None:
    found = board(path)
    assert found["uid"] == path.stem
    assert found["title"].startswith("Message queues / ")
    assert found["description"].endswith(".")
    assert "id" not in found


def test_each_panel_answers_one_question(path: Path) -> None:
    titles = []
    for panel in panels(board(path)):
        titles.append((panel["title"], panel["type"]))
        question, _, _ = panel["description"].partition("?")
        assert "?" in panel["description"], panel["title"]
        assert question[0].isupper(), panel["title"]
    assert len(set(titles)) == len(titles)


def test_each_panel_has_a_unit_and_asks_the_chosen_prometheus(path: Path) -> None:
    for panel in panels(board(path)):
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"


def test_tables_merge_rows_by_labels_and_not_by_the_names_of_metrics(path: Path) -> None:
    """Grafana merges rows only if all columns that they share are equal."""
    for panel in panels(board(path)):
        ids = [each["id"] for each in panel.get("transformations", ())]
        if "merge" in ids:
            assert ids == ["organize", "merge", "organize"], panel["title"]
            excluded = panel["transformations"][0]["options"]["excludeByName"]
            assert excluded == {"Time": True, "__name__": True}


def test_legends_cut_long_names_so_that_the_values_stay_visible(path: Path) -> None:
    for panel in panels(board(path)):
        if panel["type"] != "timeseries":
            continue
        named = any("{{" in target.get("legendFormat", "") for target in panel["targets"])
        ids = [each["id"] for each in panel.get("transformations", ())]
        assert ids == (["renameByRegex"] if named else []), panel["title"]


def test_a_cut_name_keeps_the_start_and_the_end_of_each_word() -> None:
    regex, pattern = LONG_WORD.removeprefix("/").removesuffix("/g"), SHORT_WORD.replace("$", "\\")

    def cut(name: str) -> str:
        return re.sub(regex, pattern, name)

    assert cut("billing orders · kafka eu") == "billing orders · kafka eu"
    assert cut("payment-processing orders") == "payment-processing orders"
    assert cut("team-payments-production-a orders") == "team-pay…ction-a orders"
    assert cut("team-payments-production-b orders") == "team-pay…ction-b orders"
    assert len(cut(f"{'g' * 200} {'d' * 200} · {'s' * 200}")) == 3 * 16 + 4


def test_panels_do_not_overlap_and_leave_no_hole(path: Path) -> None:
    found = everything(board(path))
    identities = [panel["id"] for panel in found]
    assert len(set(identities)) == len(identities)
    lines: dict[int, list[dict[str, int]]] = {}
    for panel in found:
        lines.setdefault(panel["gridPos"]["y"], []).append(panel["gridPos"])
    for line in lines.values():
        ends = [place["x"] + place["w"] for place in line]
        assert [place["x"] for place in line] == [0, *ends[:-1]], line
        assert ends[-1] == 24, line
        assert len({place["h"] for place in line}) == 1, line
    tops = sorted(lines)
    for top, following in itertools.pairwise(tops):
        assert top + lines[top][0]["h"] == following


def test_the_columns_of_a_table_fit_a_screen_of_1300_pixels(path: Path) -> None:
    """With Grafana's menu docked. A column without a width has at least 150 pixels."""
    for panel in panels(board(path)):
        if panel["type"] != "table":
            continue
        space = (1300 - MENU - 2 * MARGIN) * panel["gridPos"]["w"] // 24 - MARGIN
        columns = overrides(panel)
        widths = {
            name: given.get("custom.width") or given.get("custom.minWidth") or 150
            for name, given in columns.items()
            if not given.get("custom.hidden")
        }
        assert sum(widths.values()) <= space, (panel["title"], widths)
        order = panel["transformations"][-1]["options"]["indexByName"]
        assert len(order) == len(widths), panel["title"]


def test_infinite_seconds_are_called_never(path: Path) -> None:
    """A range without an end never matches in Grafana; the value itself does."""
    never = {"type": "value", "options": {"Infinity": {"text": "never", "index": 0}}}
    for panel in panels(board(path)):
        assert "range" not in json.dumps(panel["fieldConfig"].get("mappings", [])), panel["title"]
        if panel["type"] == "stat" and panel["fieldConfig"]["defaults"]["unit"] == "s":
            assert panel["fieldConfig"]["defaults"]["mappings"] == [never]
        for name, given in overrides(panel).items():
            if panel["type"] == "table" and given.get("unit") == "s":
                assert given["mappings"] == [never], (panel["title"], name)


def test_known_states_have_the_colour_of_their_meaning() -> None:
    colours_of = {**STATUS_COLOURS, "stable": "green", "dead": "dark-red"}
    seen = set()
    for path in FILES:
        for panel in panels(board(path)):
            colours = overrides(panel)
            for name, colour in colours_of.items():
                given = colours.get(name, {}).get("color")
                if given is not None:
                    seen.add(name)
                    assert given == {"mode": "fixed", "fixedColor": colour}
            if panel["type"] == "state-timeline":
                stripe = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
                assert {value: given["color"] for value, given in stripe.items()} == {
                    "1": "green",
                    "0": "red",
                }
    assert seen == set(colours_of)
    assert set(STATUSES) <= set(STATUS_COLOURS)


def test_alerts_are_marks_with_a_name(path: Path) -> None:
    (annotation,) = board(path)["annotations"]["list"]
    assert "offset 1m" in annotation["expr"]
    assert annotation["titleFormat"] == "{{alertname}}"
    assert annotation["tagKeys"] == "severity"


def test_every_query_of_ours_is_of_the_chosen_cluster(path: Path) -> None:
    for panel in panels(board(path)):
        for target in panel["targets"]:
            for selector in re.findall(
                r"(?:mq_\w+|\w+:mq_\w+:\w+|ALERTS\w*)\{([^}]*)\}", target["expr"]
            ):
                assert re.search(r'cluster=~?"\$cluster"', selector), (panel["title"], selector)
            bare = metrics(re.sub(r"\b[\w:]+\{[^}]*\}", "", target["expr"])) - {*OTHERS, *SCRAPING}
            assert not bare, (panel["title"], bare)


def test_series_of_a_panel_have_names_of_their_own(path: Path) -> None:
    for panel in panels(board(path)):
        if panel["type"] not in ("timeseries", "state-timeline"):
            continue
        legends = [target.get("legendFormat", "") for target in panel["targets"]]
        assert all(legends), panel["title"]
        assert len(set(legends)) == len(legends), panel["title"]


def test_legends_have_space(path: Path) -> None:
    """Below a diagram Grafana gives a legend a third of the height; beside it, names push numbers out."""
    for panel in panels(board(path)):
        if panel["type"] != "timeseries":
            continue
        legend = panel["options"]["legend"]
        names = [target["legendFormat"] for target in panel["targets"]]
        if any("{{" in name for name in names):
            assert legend["placement"] == "right", panel["title"]
            assert "width" not in legend, "it is as wide as its names, and at most 60%"
            assert len(legend["calcs"]) == 1, panel["title"]
        else:
            assert legend["placement"] == "bottom", panel["title"]
            assert legend["displayMode"] == "list" or len(names) <= 2, panel["title"]


def test_a_number_is_of_now(path: Path) -> None:
    """The last value of a range may be of a series that ended long ago: a former status, or a forecast."""
    for panel in panels(board(path)):
        if panel["type"] == "stat":
            assert all(target["instant"] for target in panel["targets"]), panel["title"]
            assert panel["options"]["graphMode"] == "none", panel["title"]


def test_the_title_of_a_number_fits_its_panel(path: Path) -> None:
    """On a screen of 1300 pixels with Grafana's menu."""
    for panel in panels(board(path)):
        if panel["type"] == "stat":
            assert len(panel["title"]) <= 4.5 * panel["gridPos"]["w"], panel["title"]


def test_a_word_is_always_there(path: Path) -> None:
    """Grafana shows nothing at all if a panel with a name has no series."""
    for panel in panels(board(path)):
        if panel["type"] == "stat" and panel["options"]["textMode"] == "name":
            assert "or label_replace(vector(1)" in panel["targets"][0]["expr"], panel["title"]


def test_an_axis_of_zeros_does_not_go_to_a_hundred(path: Path) -> None:
    for panel in panels(board(path)):
        defaults = panel["fieldConfig"]["defaults"]
        if panel["type"] == "timeseries" and defaults["unit"] in ("short", "mps"):
            assert defaults["custom"]["axisSoftMax"] == 1, panel["title"]


def test_a_table_uses_its_width(path: Path) -> None:
    for panel in panels(board(path)):
        if panel["type"] == "table":
            sizes = overrides(panel).values()
            assert any("custom.minWidth" in given for given in sizes), panel["title"]


def test_each_has_a_picture(path: Path) -> None:
    picture = ROOT / "docs" / "dashboards" / f"{path.stem}.png"
    assert picture.stat().st_size < 250_000
    assert f"](dashboards/{picture.name})" in (ROOT / "docs" / "dashboards.md").read_text()


def test_no_query_can_bring_thousands_of_series(path: Path) -> None:
    """The dashboard of one subscription is limited by its variables, except for its partitions."""
    for panel in panels(board(path)):
        for target in panel["targets"]:
            expr = target["expr"]
            if path.stem == "mq-subscription" and "without (partition)" not in expr:
                by_partition = [
                    name
                    for name in metrics(expr)
                    if name in BY_NAME and BY_NAME[name].per_partition
                ]
                if not by_partition:
                    continue
            if path.stem == "mq-subscription" and "without (partition)" in expr:
                continue
            of_sources = re.search(
                r"source:mq_up:max|mq_(collect|series|collector|commit_stream|node_up|exporter)",
                expr,
            )
            assert BOUNDED.search(expr) or of_sources, (panel["title"], expr)


def test_every_variable_in_a_query_can_be_chosen(path: Path) -> None:
    found = board(path)
    chosen = {each["name"] for each in found["templating"]["list"]}
    for expr in expressions(found):
        used = set(re.findall(r"\$\{?([a-z]\w*)", expr))
        assert used <= chosen, expr


def test_every_metric_is_in_the_catalogue() -> None:
    known = {*RECORDED, *BY_NAME, *SCRAPING, *OTHERS}
    known |= {f"{metric.name}_bucket" for metric in CATALOGUE if metric.buckets}
    for path in FILES:
        for expr in expressions(board(path)):
            assert metrics(expr) <= known, (path.stem, expr)


def test_every_metric_of_the_catalogue_is_shown_or_deliberately_not() -> None:
    rules = yaml.safe_load((ROOT / "alerts" / "recording.yml").read_text())["groups"]
    recorded = {rule["record"]: rule["expr"] for group in rules for rule in group["rules"]}
    named = {name for path in FILES for expr in expressions(board(path)) for name in metrics(expr)}
    for name in list(named):
        named |= metrics(recorded.get(name, ""))
    shown = {metric.name for metric in CATALOGUE if {metric.name, f"{metric.name}_bucket"} & named}
    assert {metric.name for metric in CATALOGUE} - shown == NOT_SHOWN


def test_thresholds_are_lines() -> None:
    found = 0
    for path in FILES:
        for panel in panels(board(path)):
            for target in panel["targets"]:
                if panel["type"] != "timeseries" or "mq_threshold_" not in target["expr"]:
                    continue
                found += 1
                properties = overrides(panel)[target["refId"]]
                assert properties["custom.lineStyle"]["fill"] == "dash"
    assert found == 4


def test_dashboards_link_to_each_other_and_alerts_to_them() -> None:
    uids = {path.stem for path in FILES}
    for path in FILES:
        links = {link["url"].removeprefix("/d/") for link in board(path)["links"]}
        assert links == uids - {path.stem}
        assert all(link["keepTime"] and link["includeVars"] for link in board(path)["links"])
    rules = yaml.safe_load((ROOT / "alerts" / "alerts.yml").read_text())["groups"]
    for group in rules:
        for rule in group["rules"]:
            address = rule["annotations"]["dashboard_url"]
            uid, _, query = address.removeprefix("/d/").partition("?")
            chosen = {
                each["name"]
                for each in board(ROOT / "dashboards" / f"{uid}.json")["templating"]["list"]
            }
            assert set(re.findall(r"var-(\w+)=", query)) <= chosen, rule["alert"]


def test_variables_chain() -> None:
    found = board(ROOT / "dashboards" / "mq-subscription.json")["templating"]["list"]
    names = [each["name"] for each in found]
    assert names == [
        *("datasource", "cluster", "namespace"),
        *("system", "source", "vhost", "destination", "group"),
    ]
    for number, each in enumerate(found[2:], 2):
        used = set(re.findall(r"\$(\w+)", each["query"]["query"]))
        assert used == set(names[1:number]), each["name"]
