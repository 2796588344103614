"""Secrets are masked by their values, however they are written, in every text."""

from __future__ import annotations

import base64
import html
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from exporter.config import ConfigError, parse
from exporter.scrub import MASK, Scrubber, is_secret
from exporter.secret_files import with_secrets

SECRET = 'hunter2 "ü/+\\'
"""With characters that each encoding changes."""


@pytest.fixture
def scrubber() -> Scrubber:
    made = Scrubber()
    made.learn_login("lag", SECRET)
    return made


WRITTEN = {
    "plain": SECRET,
    "in a path": quote(SECRET, safe=""),
    "in a path, in small letters": quote(SECRET, safe="").lower(),
    "in a query": quote_plus(SECRET),
    "in JSON": json.dumps(SECRET)[1:-1],
    "in JSON without escapes": json.dumps(SECRET, ensure_ascii=False)[1:-1],
    "as Python shows it": repr(SECRET)[1:-1],
    "as Python shows bytes": repr(SECRET.encode())[2:-1],
    "in a URL in a query": quote(quote(SECRET, safe=""), safe=""),
    "as Latin-1": SECRET.encode().decode("latin-1"),
    "in hexadecimal digits": SECRET.encode().hex(),
    "in HTML": html.escape(SECRET),
    "in base64": base64.b64encode(SECRET.encode()).decode(),
    "in base64 for URLs": base64.urlsafe_b64encode(SECRET.encode()).decode(),
    "in a Basic header": base64.b64encode(f"lag:{SECRET}".encode()).decode(),
    "in SASL PLAIN": base64.b64encode(f"\0lag\0{SECRET}".encode()).decode(),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_a_secret_is_masked_however_it_is_written(scrubber: Scrubber, how: str) -> None:
    text = scrubber.scrub(f"said: {WRITTEN[how]} and more")
    assert text == f"said: {MASK} and more"


@pytest.mark.parametrize("before", ["", "x", "xx", "xxx"])
def test_a_secret_inside_longer_base64_is_masked(scrubber: Scrubber, before: str) -> None:
    whole = base64.b64encode(f"{before}{SECRET}, and more".encode()).decode()
    text = scrubber.scrub(whole)
    assert MASK in text
    left = text.replace(MASK, "")
    assert len(whole) - len(left) > len(SECRET)


@pytest.mark.parametrize("length", range(4, len(SECRET)))
def test_a_text_that_was_cut_inside_a_secret_shows_no_part_of_it(
    scrubber: Scrubber, length: int
) -> None:
    assert scrubber.scrub(f"said: {SECRET[:length]}", cut=True) == f"said: {MASK}"


def test_a_key_of_several_lines_is_masked_line_by_line() -> None:
    scrubber, line = Scrubber(), "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"
    scrubber.learn(f"-----BEGIN PRIVATE KEY-----\n{line}\n-----END PRIVATE KEY-----\n")
    assert scrubber.scrub(f"bad line {line}") == f"bad line {MASK}"


def test_a_short_secret_is_masked_where_it_is_called_one_and_garbles_nothing() -> None:
    scrubber = Scrubber()
    scrubber.learn_login("lag", "abc")
    basic = base64.b64encode(b"lag:abc").decode()
    said = f"abcess of abc; password=abc, lag:abc, Basic {basic}"
    assert scrubber.scrub(said) == f"abcess of abc; password={MASK}, {MASK}, Basic {MASK}"


def test_a_password_that_is_its_users_name_is_masked_in_pairs_only() -> None:
    scrubber = Scrubber()
    scrubber.learn_login("guest", "guest")
    assert scrubber.scrub("the user 'guest'; guest:guest") == f"the user 'guest'; {MASK}"


def test_masking_twice_changes_nothing() -> None:
    scrubber = Scrubber()
    scrubber.learn("secret", MASK)
    once = scrubber.scrub("a secret password")
    assert scrubber.scrub(once) == once == f"a {MASK} password"


def test_the_oldest_of_many_secrets_is_forgotten_and_not_the_one_in_use() -> None:
    scrubber = Scrubber()
    scrubber.learn("first-one", "kept-one")
    for number in range(1_100):
        scrubber.learn(f"rotated-{number:04}", "kept-one")
    assert scrubber.scrub("kept-one rotated-1099 first-one") == f"{MASK} {MASK} first-one"


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("sasl.password", True),
        ("ssl.key.password", True),
        ("ssl.key.pem", True),
        ("ssl.keystore.password", True),
        ("sasl.oauthbearer.client.secret", True),
        ("sasl.oauthbearer.config", True),
        ("sasl.oauthbearer.assertion.private.key.passphrase", True),
        ("auth_secret", True),
        ("client_secret", True),
        ("sasl.username", False),
        ("sasl.mechanism", False),
        ("ssl.key.location", False),
        ("ssl.certificate.pem", False),
        ("sasl.oauthbearer.token.endpoint.url", False),
        ("sasl.oauthbearer.client.credentials.client.id", False),
        ("password_file", False),
    ],
)
def test_what_is_a_secret_is_told_by_its_name(name: str, secret: bool) -> None:
    assert is_secret(name) is secret


def test_the_password_and_the_secret_parameters_of_a_url_are_masked() -> None:
    scrubber = Scrubber()
    url = "http://me:p%40ssw0rd@id.example/token?client_secret=zzz9y&tenant=one"
    scrubber.learn_property("sasl.oauthbearer.token.endpoint.url", url)
    said = scrubber.scrub(f"no token from {url}: p@ssw0rd")
    assert (
        said
        == f"no token from http://me:{MASK}@id.example/token?client_secret={MASK}&tenant=one: {MASK}"
    )
    scrubber.learn_property("sasl.oauthbearer.token.endpoint.url", "me:no-scheme@id.example/token")
    assert scrubber.scrub("from me:no-scheme@id.example") == f"from {MASK}@id.example"
    assert scrubber.scrub("http://any:body@host/") == f"http://any:{MASK}@host/"


PROGRAM = """
import sys, threading, logging
from pathlib import Path
import structlog
from exporter import logging_setup
from exporter.config import ConfigError, load
from exporter.scrub import guard_tracebacks
from exporter.secret_files import read_secret
guard_tracebacks()
logging_setup.configure(sys.argv[1], "debug")
try:
    load(sys.argv[2])
except ConfigError:
    pass
log = structlog.get_logger().bind(bound="from-config")
secret = read_secret("password_file", Path(sys.argv[3]))
class Shown:
    def __repr__(self): return f"<{secret}>"
log.info("test.value", text=f"a {secret}", items=[secret, {"k": secret}], other=Shown(), raw=secret.encode())
try:
    raise ValueError(f"bad {secret}")
except ValueError:
    log.exception("test.failed")
logging.getLogger("pika.x").error("refused %s", secret)
logging.getLogger("asyncio").error("lost %s", secret)
def fail(): raise RuntimeError(f"thread {secret}")
thread = threading.Thread(target=fail); thread.start(); thread.join()
logging_setup.flush()
raise SystemError(f"main {secret} from-config")
"""


@pytest.mark.parametrize("fmt", ["json", "console"])
@pytest.mark.parametrize("valid", [True, False])
def test_log_tracebacks_and_libraries_are_scrubbed(tmp_path: Path, fmt: str, valid: bool) -> None:
    """Also if the config is refused: its secrets are known all the same."""
    config, secret = tmp_path / "config.yaml", tmp_path / "secret"
    source = (
        "name: a, system: kafka, bootstrap_servers: 'k:9092', client: {sasl.password: from-config}"
    )
    config.write_text(f"sources:\n  - {{{source}{'' if valid else ', nonsense: 1'}}}\n")
    secret.write_text('from-file"x\n')
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, fmt, str(config), str(secret)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "from-file" not in done.stderr
    assert "from-config" not in done.stderr
    for said in ("test.value", "ValueError: bad ***", "refused ***", "lost ***", "thread ***"):
        assert said in done.stderr
    assert "SystemError: main *** ***" in done.stderr


def test_files_of_client_properties_are_masked_and_public_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scrubber = Scrubber()
    for name in ("learn", "learn_property"):
        monkeypatch.setattr(f"exporter.secret_files.{name}", getattr(scrubber, name))
    files = {"sasl.username": "the-user", "sasl.password": "the-password"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    found = with_secrets("a", {}, {name: tmp_path / name for name in files})
    assert found == files
    assert scrubber.scrub("the-user the-password") == f"the-user {MASK}"


def test_a_refused_config_shows_no_secret_of_its_url() -> None:
    text = "sources: [{name: a, system: nsq, nsqd: 'http://me:hunter2@h:1'}]"
    with pytest.raises(ConfigError) as raised:
        parse(text, "c")
    assert "hunter2" not in str(raised.value)
