"""Files that a person or a tool writes: the config, and the web config."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import yaml
from hypothesis import strategies as st

from exporter.collectors.making import make_collector
from exporter.config import ConfigError, load
from exporter.web import webconfig
from exporter.web.webconfig import WebConfigError
from tests.fuzz.target import JSON, VALUES, Target, rows_like

LONGEST_LINE = 4_000
"""Maximum number of characters of a line of an error."""


@cache
def folder() -> Path:
    """A folder for the files. Files that they name do not exist in it."""
    return Path(tempfile.mkdtemp(prefix="mq-lag-exporter-fuzz-"))


def read_config(data: bytes) -> None:
    """Read a config. If it is valid, a collector is made for each of its sources."""
    path = folder() / "config.yaml"
    path.write_bytes(data)
    try:
        config = load(path, {"NAME": "value"})
    except ConfigError as error:
        _check_text(str(error), lines=10_000)
        return
    for source in config.sources:
        make_collector(source, "json", "info")


def read_web_config(data: bytes) -> None:
    """Read a web config."""
    path = folder() / "web.yaml"
    path.write_bytes(data)
    try:
        webconfig.load(path)
    except WebConfigError as error:
        _check_text(str(error), lines=1)


def _check_text(text: str, lines: int) -> None:
    found = text.splitlines()
    assert 1 <= len(found) <= lines
    assert all(len(line) < LONGEST_LINE for line in found), max(map(len, found))
    assert all(line.isprintable() for line in text.split("\n")), text
    text.encode()


TEXTS = st.sampled_from(
    ["a", ".*", "(", "${NAME}", "${NAME", "$$", "10s", "1e9s", "-1s", "off", "é"]
)
TEXTS |= st.sampled_from(
    ["http://h:1", "http://u:p@h", "kafka:9092", "a:b:c", "file:///", "x" * 500]
)
SWITCH = st.booleans()
NAMES = rows_like(include=st.lists(TEXTS, max_size=2), exclude=st.lists(TEXTS, max_size=2))
SCHEDULE = rows_like(backlog=TEXTS, rates=TEXTS, latency=TEXTS, probe=TEXTS)
TLS = rows_like(ca_file=TEXTS, cert_file=TEXTS, key_file=TEXTS, server_name=TEXTS)
KAFKA = rows_like(
    name=TEXTS,
    system="kafka",
    bootstrap_servers=TEXTS,
    client=rows_like(**{"security.protocol": TEXTS, "sasl.password": TEXTS, "bogus": TEXTS}),
    client_files=rows_like(**{"sasl.password": TEXTS}),
    destinations=NAMES,
    groups=NAMES,
    schedule=SCHEDULE,
    timestamps=rows_like(header=TEXTS, tolerance=rows_like(seconds=TEXTS, ratio=0.1)),
)
RABBITMQ = rows_like(
    name=TEXTS, system="rabbitmq", management_url=TEXTS, amqp_url=TEXTS, tls=TLS, vhosts=NAMES
)
NSQ = rows_like(name=TEXTS, system="nsq", nsqlookupd=TEXTS, nsqd=TEXTS, nodes=NAMES)
THRESHOLD = rows_like(
    match=rows_like(source=TEXTS, group=TEXTS), lag_messages=TEXTS, lag_seconds=TEXTS
)
CONFIG = rows_like(
    listen=TEXTS,
    log=rows_like(format="json", level="info"),
    defaults=rows_like(schedule=SCHEDULE, hold=TEXTS, labels=rows_like(team=TEXTS)),
    thresholds=st.lists(THRESHOLD, max_size=2),
    sources=st.lists(KAFKA | RABBITMQ | NSQ, max_size=2),
    allowed_hosts=st.lists(TEXTS, max_size=2),
)
HASH = "$2y$04$" + "a" * 53
WEB_CONFIG = rows_like(
    tls_server_config=rows_like(
        cert_file=TEXTS,
        key_file=TEXTS,
        client_auth_type="RequireAndVerifyClientCert",
        min_version="TLS12",
        cipher_suites=st.lists(TEXTS, max_size=2),
        curve_preferences=st.lists(st.sampled_from(["X25519", "x"]), max_size=2),
    ),
    http_server_config=rows_like(http2=SWITCH, headers=rows_like(**{"X-Frame-Options": TEXTS})),
    basic_auth_users=st.dictionaries(TEXTS, st.just(HASH) | TEXTS, max_size=2),
    rate_limit=rows_like(interval=TEXTS, burst=VALUES),
)


def _yaml(value: object) -> bytes:
    try:
        return yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass")
    except (yaml.YAMLError, ValueError):
        return repr(value).encode("utf-8", "surrogatepass")


ROOT = Path(__file__).parents[2]
CONFIGS = (
    *sorted((ROOT / "config").glob("[knre]*.yaml")),
    *(ROOT / "tests/unit/configs").iterdir(),
)

TARGETS = (
    Target("config", read_config, (CONFIG | JSON).map(_yaml), examples=60, elsewhere=CONFIGS),
    Target(
        "web-config",
        read_web_config,
        (WEB_CONFIG | JSON).map(_yaml),
        examples=60,
        elsewhere=(ROOT / "config/web.yaml",),
    ),
)
