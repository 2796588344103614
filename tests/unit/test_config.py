"""The config file: what is accepted, what is refused, the messages, and hidden secrets."""

from __future__ import annotations

import importlib.util
import json
import pickle
import re
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trustme
import yaml
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from hypothesis import given
from hypothesis import strategies as st

from exporter.catalogue import CATALOGUE
from exporter.collectors.kafka.from_config import kafka_settings
from exporter.collectors.kafka.login.mechanisms import fetcher, with_tokens
from exporter.config import Config, ConfigError, load, parse, yaml_nodes
from exporter.config.kafka import KafkaSource
from exporter.config.scaling import ScalingConfig
from exporter.config.thresholds import ThresholdConfig
from exporter.config.types import RESERVED_LABELS
from exporter.secret_files import SecretFileError
from exporter.web import webconfig

ROOT = Path(__file__).parent.parent.parent
BROKEN = sorted((Path(__file__).parent / "configs").glob("*.yaml"))
"""One error each. The first line names it, with FILE for the path."""
EXAMPLES = [ROOT / "config" / "example.yaml", *sorted((ROOT / "config").glob("kafka-*.yaml"))]
SOURCE = "sources:\n  - name: orders\n    system: kafka\n    bootstrap_servers: kafka-1:9092\n"
SECRET = "hunter2-marker"


def read(text: str, **environ: str) -> Config:
    return parse(text, "c.yaml", environ)


def source(more: str = "", **environ: str) -> KafkaSource:
    """Parse a config with one source and more lines at its end."""
    return clusters(read(SOURCE + more, **environ))[0]


def clusters(config: Config) -> list[KafkaSource]:
    """Return the sources of a config that has Kafka sources only."""
    found = [source for source in config.sources if isinstance(source, KafkaSource)]
    assert len(found) == len(config.sources)
    return found


def refusal(text: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as raised:
        read(text, **environ)
    return str(raised.value)


# Invalid files


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_a_broken_file_is_refused_with_what_its_first_line_says(path: Path) -> None:
    first = path.read_bytes().split(b"\n")[0].decode()
    with pytest.raises(ConfigError) as raised:
        load(path, {})
    assert f"# {raised.value}" == first.replace("# FILE", f"# {path}", 1)


@pytest.mark.parametrize("text", ["", "\n", "# nothing but this", "---\n...\n", "~"])
def test_a_file_without_content_is_refused(text: str) -> None:
    assert "`sources" in refusal(text)


def test_all_faults_are_told_at_once_in_the_order_of_the_file() -> None:
    text = (
        "listen: here\nlog: {level: loud}\n"
        + SOURCE
        + "    hold: 3\n    client: {sasl.password: '${NONE}', group.id: a}\n"
        + "    client_files: {group.id: b, ssl.key.pem: c}\n    internals: 1\n"
        + "  - {name: orders, system: pulsar}\n"
    )
    unset = "the environment variable NONE is not set; set it, or write ${NONE:-default}"
    other = "system 'pulsar' is not supported by this version; supported: kafka, rabbitmq, nsq"
    assert refusal(text).splitlines() == [
        "c.yaml:1: listen: expected host:port, such as 0.0.0.0:9877, :9877 or [::1]:9877",
        "c.yaml:2: log.level: expected 'debug', 'info', 'warning' or 'error', not 'loud'",
        "c.yaml:7: sources[0].hold: a duration needs a unit; write 3s",
        "c.yaml:8: sources[0].client.group.id: cannot be set here: the exporter never joins a group",
        f"c.yaml:8: sources[0].client.sasl.password: {unset}",
        "c.yaml:9: sources[0].client_files.group.id: also set under client on line 8; keep one of them",
        "c.yaml:9: sources[0].client_files.group.id: cannot be set here: the exporter never joins a group",
        "c.yaml:10: sources[0].internals: expected true or false",
        "c.yaml:11: sources[1].name: duplicate name, also used on line 4; source names must be unique",
        f"c.yaml:11: sources[1].system: {other}",
    ]


def test_a_fault_in_defaults_is_told_once() -> None:
    text = "defaults: {deadline: 5}\n" + SOURCE + SOURCE.replace("orders", "b").split("\n", 1)[1]
    assert refusal(text) == "c.yaml:1: defaults.deadline: a duration needs a unit; write 5s"


def test_a_value_that_could_not_be_read_is_one_fault() -> None:
    text = SOURCE.replace("kafka-1:9092", "['${A}', 'b:1']")
    expected = "the environment variable A is not set; set it, or write ${A:-default}"
    assert refusal(text) == f"c.yaml:4: sources[0].bootstrap_servers[0]: {expected}"


def test_what_can_not_be_read_is_told(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * ((1 << 20) + 1))
    for path, message in (
        (tmp_path / "none.yaml", "can't be read: No such file or directory"),
        (tmp_path, "can't be read: Is a directory"),
        (large, "larger than 1,048,576 bytes"),
    ):
        with pytest.raises(ConfigError) as raised:
            load(path, {})
        assert str(raised.value) == f"{path}: {message}"


@given(st.text(max_size=200) | st.text("[]{}&*!|>'\"%@:-?, \n\tab<$#", max_size=60))
def test_any_text_is_a_config_or_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError):
        read(text)


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ("    ? [a]\n    : b\n", "5: sources[0]: a key must be text"),
        ("    <<: 5\n", "5: sources[0]: expected an alias of keys and values after <<"),
        (
            "    max_series: !!int many\n",
            "5: sources[0].max_series: not a valid int",
        ),
        (
            "    groups: !!set {a}\n",
            "5: sources[0].groups: unknown tag; put a value that begins with ! in quotes",
        ),
        ('    labels: {a: "\\ud800"}\n', "5: sources[0].labels.a: not valid Unicode"),
        (
            "    groups: {include: [5]}\n",
            "5: sources[0].groups.include[0]: expected a regular expression in quotes",
        ),
        (
            "    groups: {include: ['a{2000}']}\n",
            "5: sources[0].groups.include[0]: not a regular expression: invalid repetition size: {2000}",
        ),
        ("    groups: {names: []}\n", "5: sources[0].groups.names: must not be empty"),
        ("    hold: 0.5ms\n", "5: sources[0].hold: at least 1ms"),
        (
            "    client_files: {a.b: ''}\n",
            "5: sources[0].client_files.a.b: expected the path of a file",
        ),
        (
            "    labels: {a: true}\n",
            "5: sources[0].labels.a: expected text, not true or false; put it in quotes",
        ),
        (
            '  - {name: "a\\nb", system: kafka, bootstrap_servers: a}\n',
            "5: sources[1].name: must be a single line without control characters",
        ),
    ],
)
def test_other_values_are_refused(more: str, fault: str) -> None:
    assert refusal(SOURCE + more) == f"c.yaml:{fault}"


def test_a_file_of_too_many_values_is_refused_before_all_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(yaml_nodes, "MAX_NODES", 1000)
    text = "sources: [" + "x, " * 2100 + "@"
    assert refusal(text) == "c.yaml:1:10: not valid YAML: more than 1,000 values"


def again(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - made right here


def test_errors_and_sources_can_go_to_another_process() -> None:
    only = source("    client_files: {a.b: /none}\n")
    assert only.groups.allows("used")
    assert again(only) == only
    with pytest.raises(ConfigError) as refused:
        read("listen: 5\n")
    with pytest.raises(SecretFileError) as unread:
        only.client_properties()
    for error in (refused.value, unread.value):
        assert (type(again(error)), str(again(error))) == (type(error), str(error))


def test_a_pair_of_surrogates_as_json_writes_it_is_one_character() -> None:
    assert source('    groups: {names: ["\\ud83d\\ude42"]}\n').groups.names == ("🙂",)


# What is accepted


def test_what_is_not_said_has_its_default() -> None:
    config = read(SOURCE)
    assert (config.listen, config.reload_endpoint) == ("0.0.0.0:9877", False)
    assert (config.log.format, config.log.level) == ("json", "info")
    (only,) = clusters(config)
    assert only.schedule.model_dump() == {
        "backlog": 10.0,
        "consumers": 30.0,
        "discovery": 60.0,
        "rates": 30.0,
        "latency": 10.0,
        "probe": 5.0,
    }
    assert (only.deadline, only.hold, only.rate_window) == (10.0, 120.0, 120.0)
    assert (only.max_series, only.labels, only.internals) == (500_000, {}, False)
    assert (only.isolation, only.granularity) == ("read_uncommitted", "partition")
    assert (only.read_committed_groups, only.groups.names) == ((), None)
    assert only.client_properties() == {"bootstrap.servers": "kafka-1:9092"}
    assert (only.timestamps.method, only.timestamps.header) == ("auto", None)
    assert only.timestamps.tolerance.model_dump() == {"seconds": 1.0, "ratio": 0.01}
    assert (only.latency.limit, only.latency.groups) == (1_000, ())
    assert (only.probe.enabled, only.probe.deadline) == (None, 5.0)
    assert only.probe.destination == "mq-lag-exporter-probe"


def test_a_source_overrides_the_defaults_key_by_key() -> None:
    defaults = (
        "defaults: {schedule: {backlog: 1s, consumers: 2s}, hold: 3m, deadline: 4s, "
        "rate_window: 5m, max_series: 6, labels: {team: a, zone: b}}\n"
    )
    more = "    schedule: {consumers: 9s}\n    hold: 1m\n    labels: {zone: c}\n"
    only = read(defaults + SOURCE + more).sources[0]
    assert (only.schedule.backlog, only.schedule.consumers) == (1.0, 9.0)
    assert (only.schedule.discovery, only.hold, only.deadline) == (60.0, 60.0, 4.0)
    assert (only.rate_window, only.max_series) == (300.0, 6)
    assert only.labels == {"team": "a", "zone": "c"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("10s", 10), ("2m", 120), ("1h30m", 5400), ("7d", 604_800), ("1.5s", 1.5)],
)
def test_durations_have_units(text: str, seconds: float) -> None:
    assert source(f"    hold: {text}\n").hold == seconds


@pytest.mark.parametrize(
    "text", ["-1s", "1 s", "s", "1s2", "1e3s", "367d", "٣s", "''", "[1s]", "true"]
)
def test_other_durations_are_refused(text: str) -> None:
    assert refusal(f"{SOURCE}    hold: {text}\n").startswith("c.yaml:5: sources[0].hold: ")


@pytest.mark.parametrize("text", ["a:1,b:2", "[a:1, b:2]", "' a:1 , b:2 '"])
def test_bootstrap_servers_are_a_list_either_way(text: str) -> None:
    assert clusters(read(SOURCE.replace("kafka-1:9092", text)))[0].bootstrap_servers == "a:1,b:2"


@pytest.mark.parametrize(
    "text", ["''", "a:1,,b:2", "9092", "{a: 1}", "[]", "a b:1", "a:0", "http://a:1", "[a:1, 5]"]
)
def test_other_bootstrap_servers_are_refused(text: str) -> None:
    assert "sources[0].bootstrap_servers: expected host:port" in refusal(
        SOURCE.replace("kafka-1:9092", text)
    )


def test_filters_match_whole_names_with_line_breaks_too() -> None:
    topics = source(
        "    destinations: {include: ['a.*', '(?i)B', '[x]{2}'], exclude: ['a\\.tmp-.*']}\n"
    ).destinations
    allowed = ["a", "a.b", "a\nb", "b", "B", "xx"]
    assert [
        name for name in [*allowed, "ba", "", "a.tmp-1", "xy"] if topics.allows(name)
    ] == allowed
    assert source().groups.allows("any\nthing 🐟")


def test_merge_keys_and_anchors_work() -> None:
    text = (
        "sources:\n  - &first {name: a, system: kafka, bootstrap_servers: 'k:1', hold: 1m}\n"
        "  - {<<: *first, name: b}\n  - <<: [{name: c}, *first]\n    hold: 3m\n"
    )
    found = [(s.name, s.bootstrap_servers, s.hold) for s in clusters(read(text))]
    assert found == [("a", "k:1", 60.0), ("b", "k:1", 60.0), ("c", "k:1", 180.0)]


def test_a_key_without_a_value_is_not_given() -> None:
    assert source("    labels:\n    groups:\n    client:\n    client_files:\n") == source()
    assert "sources[0].name: missing" in refusal(SOURCE.replace(" orders", ""))


def test_client_properties_are_texts_as_they_are_written() -> None:
    more = (
        "    client: {a.a: true, a.b: False, a.c: 0123, a.d: 1.50, a.e: yes, a.f: 12:30, a.g: ''}\n"
    )
    assert source(more).client == {
        "a.a": "true",
        "a.b": "false",
        "a.c": "0123",
        "a.d": "1.50",
        "a.e": "yes",
        "a.f": "12:30",
        "a.g": "",
    }


def test_labels_that_the_exporter_sets_are_refused_but_cluster_is_free() -> None:
    used = {label for metric in CATALOGUE for label in metric.labels} | {"partition"}
    assert used <= RESERVED_LABELS
    assert source("    labels: {cluster: eu}\n").labels == {"cluster": "eu"}


@pytest.mark.parametrize("name", ["__a", "a-b", "1a", "ä", "''"])
def test_other_label_names_are_refused(name: str) -> None:
    assert "not a label name" in refusal(f"{SOURCE}    labels: {{{name}: x}}\n")


@pytest.mark.parametrize(
    ("more", "key", "expected"),
    [
        (
            "timestamps: {method: magic}",
            "timestamps.method",
            "expected 'auto', 'time_index' or 'record', not 'magic'",
        ),
        ("timestamps: {header: ''}", "timestamps.header", "must not be empty"),
        (
            "timestamps: {header: 5}",
            "timestamps.header",
            "expected text, not a number; put it in quotes",
        ),
        (
            "timestamps: {method: time_index, header: sent}",
            "timestamps.header",
            "header needs record reads, so method must not be time_index",
        ),
        ("timestamps: {headr: a}", "timestamps.headr", "unknown key; did you mean 'header'?"),
        ("timestamps: record", "timestamps", "expected keys and values, not text"),
        (
            "timestamps: {tolerance: 1s}",
            "timestamps.tolerance",
            "expected keys and values, not text",
        ),
        (
            "timestamps: {tolerance: {seconds: 1}}",
            "timestamps.tolerance.seconds",
            "a duration needs a unit; write 1s",
        ),
        ("latency: {limit: -1}", "latency.limit", "expected a whole number of 0 or more"),
        ("latency: {limit: 1.5}", "latency.limit", "expected a whole number of 0 or more"),
        ("latency: {limit: true}", "latency.limit", "expected a whole number of 0 or more"),
        ("latency: {groups: billing}", "latency.groups", "expected a list, not text"),
        (
            "destinations: {exclude: ['*.dlq']}",
            "destinations.exclude[0]",
            r"not a regular expression: no argument for repetition operator: *; did you mean `.*\.dlq`?",
        ),
        ("topics: {}", "topics", "unknown key; did you mean 'destinations'?"),
        ("queues: {}", "queues", "unknown key; did you mean 'destinations'?"),
        ("channels: {}", "channels", "unknown key; did you mean 'groups'?"),
        ("consumer-groups: {}", "consumer-groups", "unknown key; did you mean 'groups'?"),
        (
            "latency: {groups: ['(']}",
            "latency.groups[0]",
            "not a regular expression: missing ): (",
        ),
        ("probe: true", "probe", "expected keys and values, not true or false"),
        ("probe: {enabled: maybe}", "probe.enabled", "expected true or false"),
        ("probe: {deadline: 5}", "probe.deadline", "a duration needs a unit; write 5s"),
        ("probe: {deadline: 0s}", "probe.deadline", "at least 1ms"),
        (
            "probe: {topic: a}",
            "probe.topic",
            "unknown key; did you mean 'destination'?",
        ),
    ],
)
def test_what_is_wrong_about_time_is_told_with_key_and_line(
    more: str, key: str, expected: str
) -> None:
    assert refusal(f"{SOURCE}    {more}\n") == f"c.yaml:5: sources[0].{key}: {expected}"


@pytest.mark.parametrize("value", ["2", "-0.1", ".nan", ".inf", "5%", "true", "[0.5]", "9" * 400])
def test_a_ratio_is_a_number_from_0_to_1(value: str) -> None:
    fault = refusal(f"{SOURCE}    timestamps: {{tolerance: {{ratio: {value}}}}}\n")
    key = "sources[0].timestamps.tolerance.ratio"
    assert fault == f"c.yaml:5: {key}: expected a number from 0 to 1"


@pytest.mark.parametrize(("value", "ratio"), [("0", 0.0), ("1", 1.0), ("'0.25'", 0.25)])
def test_other_ratios_are_taken(value: str, ratio: float) -> None:
    found = source(f"    timestamps: {{tolerance: {{ratio: {value}}}}}\n").timestamps
    assert (found.tolerance.ratio, found.tolerance.seconds) == (ratio, 1.0)


@pytest.mark.parametrize("name", ["a b", "ü", "..", ".", "a/b", "''", "5", "x" * 250])
def test_a_probe_goes_to_a_topic_that_there_can_be(name: str) -> None:
    assert refusal(f"{SOURCE}    probe: {{destination: {name}}}\n") == (
        "c.yaml:5: sources[0].probe.destination: expected a topic name: "
        "at most 249 letters, digits, dots, _ and -"
    )


@pytest.mark.parametrize(("text", "enabled"), [("true", True), ("off", False), ("", None)])
def test_probes_are_on_or_off_or_left_to_the_rights(text: str, enabled: bool | None) -> None:
    assert source(f"    probe: {{enabled: {text}}}\n").probe.enabled is enabled


def test_the_collector_is_told_of_the_time_as_the_source_says() -> None:
    more = (
        "    timestamps: {method: record, header: sent, tolerance: {seconds: 2s, ratio: 0.5}}\n"
        "    latency: {limit: 0, groups: ['bill.*']}\n"
        "    probe: {enabled: false, destination: probes, deadline: 3s}\n"
    )
    told = kafka_settings(source(more))
    assert (told.method, told.header) == ("record", "sent")
    assert (told.tolerance_seconds, told.tolerance_ratio, told.latency_limit) == (2.0, 0.5, 0)
    assert [name for name in ("billing", "orders") if told.latency_groups.allows(name)] == [
        "billing"
    ]
    assert (told.probe, told.probe_topic, told.probe_deadline) == (False, "probes", 3.0)


# Environment variables


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "one"),
        ("x${A}y${A}", "xoneyone"),
        ("${NONE:-two}", "two"),
        ("${EMPTY:-two}", "two"),
        ("${EMPTY}", ""),
        ("${NONE:-}", ""),
        ("$${A}", "${A}"),
        ("$$$A$", "$$A$"),
    ],
)
def test_variables_are_put_in(text: str, value: str) -> None:
    more = f"    labels: {{a: '{text}'}}\n"
    assert source(more, A="one", EMPTY="").labels == {"a": value}


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_variable_is_a_value_and_never_yaml(value: str) -> None:
    more = "    client:\n      sasl.password: ${P}\n      sasl.username: u\n"
    assert source(more, P=value).client == {"sasl.password": value, "sasl.username": "u"}


def test_variables_serve_typed_keys() -> None:
    text = (
        "reload_endpoint: ${B}\nlog:\n  level: ${L}\n"
        + SOURCE
        + "    max_series: ${N}\n    hold: ${D}m\n    internals: ${B}\n"
    )
    config = read(text, B="true", L="debug", N="12", D="3")
    only = config.sources[0]
    assert isinstance(only, KafkaSource)
    assert (config.reload_endpoint, config.log.level) == (True, "debug")
    assert (only.max_series, only.hold, only.internals) == (12, 180.0, True)


# Secret files


def test_client_files_are_read_at_each_call_beside_the_config(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(SOURCE + "    client_files: {sasl.password: secret}\n")
    only = clusters(load(config, {}))[0]
    for text in ("one", "two "):
        (tmp_path / "secret").write_text(f"{text}\n")
        assert only.client_properties()["sasl.password"] == text


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "can't be read: No such file or directory"),
        (b"", "the file is empty"),
        (SECRET.encode() + b"\xff", "not UTF-8 text"),
        (SECRET.encode() + b"\0", "must not contain a NUL character"),
        (SECRET.encode() * 100_000, "larger than 1,048,576 bytes"),
    ],
)
def test_a_secret_file_that_can_not_be_used_is_named(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    only = source(f"    client_files: {{sasl.password: {path}}}\n")
    with pytest.raises(SecretFileError) as raised:
        only.client_properties()
    assert str(raised.value) == f"{path}: sources[orders].client_files.sasl.password: {problem}"
    assert SECRET not in "".join(traceback.format_exception(raised.value))
    assert raised.value.__context__ is None


# Secrets


def test_no_client_value_is_in_a_repr() -> None:
    config = read(f"{SOURCE}    client: {{sasl.password: {SECRET}, a.b: '${{P}}'}}\n", P=SECRET)
    for text in (repr(config), str(config), repr(config.sources), f"{config.sources[0]!r}"):
        assert SECRET not in text
        assert "sasl.password" in text


@pytest.mark.parametrize(
    "more",
    [
        "    client: {sasl.password: [@]}\n",
        "    client: {sasl.password: {@: @}}\n",
        "    client: {sasl.password: {a: @, a: @}}\n",
        "    client: {sasl.password: a,@}\n",
        "    client: {sasl.password: a,@,@}\n",
        "    client: {@: [@]}\n",
        '    client: {sasl.password: "@\\0"}\n',
        "    client: {sasl.password: !@ x}\n",
        "    client: {sasl.password: !a!@ x}\n",
        "    client: {sasl.password: !!int '@'}\n",
        "    client: {sasl.password: *@}\n",
        "    client: {sasl.password: &@ x, b.c: &@ *none}\n",
        "    client: {sasl.password: '@\n",
        '    client: {sasl.password: "@\\q"}\n',
        "    client: {sasl.password: %@}\n",
        "    client: {sasl.password: '@' '@'}\n",
        "    client:\n      sasl.password: @: @\n",
        "    client:\n      sasl.password: x\n    @\n",
        "    client: @\n",
        "    client: [@]\n",
        "    client: {sasl.password: @}\n    hold: 5\n",
        "    hold: ${P}\n",
        "    hold: ${NONE:-@}\n",
        "    deadline: 9${P}\n",
        "    isolation: ${P}\n",
        "    max_series: ${P}\n",
        "    internals: ${P}\n",
        "    client_files: ${P}\n",
        "    client: ${P}\n",
        "    groups: {include: ['(?P<x>${P}']}\n",
        "    groups: {include: ['${P}(?<@)']}\n",
        "    groups: {names: ${P}}\n",
        "    schedule: {backlog: '${P}'}\n",
        "  - {name: b, system: '${P}', bootstrap_servers: a}\n",
        "  - {name: b, system: kafka, bootstrap_servers: '${P} '}\n",
    ],
)
def test_no_fault_shows_a_secret(more: str) -> None:
    text = SOURCE + more.replace("@", SECRET)
    with pytest.raises(ConfigError) as raised:
        read(text, P=f"{SECRET} ,")
    shown = "".join(traceback.format_exception(raised.value)) + repr(raised.value)
    assert SECRET not in shown
    assert raised.value.__context__ is None


def test_a_number_from_the_environment_is_not_shown() -> None:
    expected = "c.yaml:5: sources[0].hold: a duration needs a unit, such as 10s"
    assert refusal(SOURCE + "    hold: ${P}\n", P="4711") == expected


# Equality, which a reload depends on


def test_sources_are_equal_as_long_as_nothing_changed() -> None:
    first = source("    client: {a.b: c}\n")
    assert first.groups.allows("used")
    assert first == source("    client: {a.b: '${X}'}\n    hold: 120s\n    groups: {}\n", X="c")
    assert read("log: {level: debug}\n" + SOURCE).sources == read(SOURCE).sources


@pytest.mark.parametrize(
    "more", ["client: {a.b: d}", "hold: 1m", "groups: {names: [a]}", "client_files: {a.b: c}"]
)
def test_sources_differ_where_something_changed(more: str) -> None:
    assert source(f"    {more}\n") != source()


def test_a_source_differs_where_its_defaults_changed() -> None:
    assert read("defaults: {hold: 1m}\n" + SOURCE).sources != read(SOURCE).sources


# Examples and schema


def example(path: Path, folder: Path) -> str:
    """The text of an example. The files that it names are created in a folder of the test."""
    text = re.sub(r"/(?:etc|run)/[\w/]*/(?=[\w.-]+)", f"{folder}/", path.read_text())
    authority = trustme.CA()
    certificate = authority.issue_cert("exporter")
    for name in set(re.findall(rf"{re.escape(str(folder))}/([\w.-]+)", text)):
        kind = Path(name).suffix
        if kind == ".pem":
            authority.cert_pem.write_to_path(folder / name)
        elif kind == ".crt":
            certificate.cert_chain_pems[0].write_to_path(folder / name)
        elif kind == ".key":
            certificate.private_key_pem.write_to_path(folder / name)
        else:
            (folder / name).write_text(f"{SECRET}\n")
    return text


def accept(properties: dict[str, str]) -> None:
    """Let librdkafka check the properties. Raises `KafkaException` if it refuses them."""
    quiet: dict[str, Any] = {"log_level": 0, "error_cb": lambda _: None}
    shown: dict[str, Any] = {**properties}
    if fetcher(properties) is not None:
        shown = with_tokens(properties, lambda _: ("token", time.time() + 60))
    AdminClient({**shown, **quiet})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_librdkafka_accepts_every_example(path: Path, tmp_path: Path) -> None:
    environ = dict.fromkeys(("KAFKA_PASSWORD", "KAFKA_KEY_PASSWORD", "CONFLUENT_API_KEY"), SECRET)
    for each in clusters(parse(example(path, tmp_path), path.name, environ)):
        if path.stem == "kafka-kerberos":
            # The librdkafka of the wheel has no Kerberos; test_kafka_login.py uses one that has.
            with pytest.raises(KafkaException, match="No provider for SASL mechanism GSSAPI"):
                accept(each.client_properties())
        else:
            accept(each.client_properties())


def test_librdkafka_refuses_properties_that_it_does_not_know() -> None:
    with pytest.raises(KafkaException):
        accept(source("    client: {sasl.passwort: x}\n").client_properties())


def test_event_hubs_gets_the_word_that_it_wants_as_a_user() -> None:
    path = ROOT / "config" / "kafka-event-hubs.yaml"
    (only,) = clusters(load(path, {}))
    assert only.client["sasl.username"] == "$ConnectionString"


def test_every_example_is_there() -> None:
    clouds = ("confluent-cloud", "event-hubs", "msk-iam")
    kinds = ("full", "kerberos", "mtls", "oauthbearer", "plaintext", "sasl-plain", "sasl-scram")
    names = sorted((*clouds, *kinds, "tls"))
    assert [path.stem for path in EXAMPLES] == ["example", *(f"kafka-{name}" for name in names)]


def keys(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(keys, value))
    return set(value).union(*map(keys, value.values())) if isinstance(value, dict) else set()


FULL = ROOT / "config" / "kafka-full.yaml"
GIVEN = {"client", "client_files", "labels", "read_committed_groups"}
"""Keys whose values in the full config are examples, since they are empty by default."""


def test_the_full_examples_have_every_key() -> None:
    paths = sorted(FULL.parent.glob("*-full.yaml"))
    assert len(paths) == 3
    named = set().union(*(keys(yaml.safe_load(path.read_text())) for path in paths))
    known = set().union(*(part["properties"] for part in [SCHEMA, *SCHEMA["$defs"].values()]))
    assert known - named == {"password", "auth_secret"}, "the others are in files there"


def test_the_full_example_has_every_default() -> None:
    config = load(FULL, {})
    (full,) = clusters(config)
    needed = {"name": full.name, "bootstrap_servers": full.bootstrap_servers, "system": "kafka"}
    plain = Config.model_validate({"sources": [needed]})
    assert full.model_dump(exclude=GIVEN) == plain.sources[0].model_dump(exclude=GIVEN)
    assert config.defaults.model_dump(exclude=GIVEN) == plain.defaults.model_dump(exclude=GIVEN)
    assert config.thresholds[-1] == ThresholdConfig()
    (line,) = config.scaling
    given = {"match", "maximum", "inputs"}
    assert line.model_dump(exclude=given) == ScalingConfig().model_dump(exclude=given)
    rest = {"sources", "defaults", "thresholds", "scaling", "scaling_state", "keda"}
    assert config.model_dump(exclude=rest) == plain.model_dump(exclude=rest)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_names_its_schema(path: Path) -> None:
    assert path.read_text().startswith("# yaml-language-server: $schema=schema.json\n")


def test_the_first_config_is_short() -> None:
    assert len(EXAMPLES[0].read_text().splitlines()) <= 6


def test_the_web_example_has_tls_and_a_user(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(example(ROOT / "config" / "web.yaml", tmp_path))
    config = webconfig.load(path)
    assert config.tls
    assert not config.current().users.allow(None)


def generator() -> ModuleType:
    path = ROOT / "scripts" / "generate_schema.py"
    spec = importlib.util.spec_from_file_location("generate_schema", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCHEMA: dict[str, Any] = json.loads(generator().schema())


KINDS = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": int | float,
    "boolean": bool,
    "null": type(None),
}


def is_a(value: Any, kinds: str | list[str]) -> bool:
    names = [kinds] if isinstance(kinds, str) else kinds
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, KINDS[name]) for name in names)


WORDS: dict[str, tuple[Any, Callable[[Any, Any], bool]]] = {
    "required": (dict, lambda value, names: set(names) <= value.keys()),
    "minItems": (list, lambda value, least: len(value) >= least),
    "minLength": (str, lambda value, least: len(value) >= least),
    "maxLength": (str, lambda value, most: len(value) <= most),
    "pattern": (str, lambda value, pattern: re.search(pattern, value) is not None),
    "minimum": (int | float, lambda value, least: value >= least),
    "maximum": (int | float, lambda value, most: value <= most),
    "enum": (object, lambda value, known: value in known),
    "const": (object, lambda value, known: value == known),
    "type": (object, is_a),
}
PARTS = ("properties", "additionalProperties", "items")
ABOUT = {"$defs", "$schema", "title", "description", "default", "examples", "format"}


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Return whether the value matches the schema, by the keywords of JSON Schema that it uses."""
    assert schema.keys() <= {*WORDS, *ABOUT, "$ref", "anyOf", *PARTS}
    if "$ref" in schema and not fits(value, SCHEMA["$defs"][schema["$ref"].split("/")[-1]]):
        return False
    if "anyOf" in schema and not any(fits(value, option) for option in schema["anyOf"]):
        return False
    for word, (kind, holds) in WORDS.items():
        if word in schema and isinstance(value, kind) and not holds(value, schema[word]):
            return False
    return all(said is not False and fits(part, said) for part, said in parts(value, schema))


def parts(value: Any, schema: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """The parts of a value with the schema of each; False for a part that is not allowed."""
    if isinstance(value, list):
        yield from ((item, schema["items"]) for item in value if "items" in schema)
    elif isinstance(value, dict):
        others = schema.get("additionalProperties", {})
        named = schema.get("properties", {})
        yield from ((part, named.get(key, others)) for key, part in value.items())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_what_the_schema_says(path: Path) -> None:
    assert fits(yaml.safe_load(path.read_text()), SCHEMA)


@pytest.mark.parametrize(
    "more",
    [
        "colour: red",
        "internals: 1",
        "hold: 5",
        "hold: 5 seconds",
        "isolation: none",
        "max_series: 0",
        "groups: {names: []}",
        "labels: {a: 1}",
        "client: [a]",
        "schedule: {backlogs: 1s}",
        "timestamps: {method: magic}",
        "timestamps: {tolerance: {ratio: 1.5}}",
        "latency: {limit: -1}",
        "probe: {destination: a b}",
    ],
)
def test_the_schema_refuses_what_the_config_refuses(more: str) -> None:
    text = f"{SOURCE}    {more}\n"
    refusal(text)
    assert not fits(yaml.safe_load(text), SCHEMA)


def test_the_schema_knows_the_keys_and_allows_variables() -> None:
    properties = SCHEMA["$defs"]["KafkaSource"]["properties"]
    assert set(properties) == set(KafkaSource.model_fields)
    duration, variable = properties["hold"]["anyOf"]
    assert (duration["type"], variable["pattern"]) == ("string", r"\$\{")
    assert properties["hold"]["default"] == "2m"
    assert SCHEMA["$defs"]["KafkaSource"]["additionalProperties"] is False
    assert set(SCHEMA["$defs"]["KafkaSource"]["required"]) == {
        "name",
        "system",
        "bootstrap_servers",
    }


def test_the_committed_schema_is_the_one_of_the_models() -> None:
    assert (ROOT / "config" / "schema.json").read_text() == generator().schema()


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ("[metrics.example.com, '10.0.0.5:9877', '[::1]']", None),
        ("[]", None),
        ("metrics.example.com", "expected a list of host names"),
        ("['*.example.com']", "write host or host:port"),
        ("['http://metrics.example.com']", "write host or host:port"),
        ("['a:70000']", "write host or host:port"),
        ("[12]", "write host or host:port"),
    ],
)
def test_allowed_hosts_are_names_as_browsers_send_them(hosts: str, expected: str | None) -> None:
    text = f"allowed_hosts: {hosts}\n{SOURCE}"
    if expected is None:
        assert len(read(text).allowed_hosts) == hosts.count(",") + (hosts != "[]")
        return
    with pytest.raises(ConfigError, match=expected):
        read(text)
