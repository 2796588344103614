"""Web config files that attack their reader, and the test files of exporter-toolkit."""

from __future__ import annotations

import base64
import os
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import bcrypt
import pytest
import structlog.testing
import trustme

from exporter.config import ConfigError
from exporter.config import load as load_config
from exporter.web.webconfig import Users, WebConfigError, load

HASH = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
SECONDS = 10.0
"""Far less than a file that grows without bound needs."""
Write = Callable[[str], Path]

BOMB = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"b{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]\n" for number in range(1, 22)
)
HOSTILE = {
    "a recursive alias": ("basic_auth_users: &a {b: *a}\n", "line 1"),
    "a recursive alias in a list": ("tls_server_config: {cipher_suites: &a [*a]}\n", "line 1"),
    "3,000 levels": ("a: " + "[" * 3000 + "]" * 3000 + "\n", "more than 50 levels"),
    "3,000 levels of keys": ("{a: " * 3000 + "}" * 3000, "more than 50 levels"),
    "an alias bomb": (BOMB, "more than"),
    "a date that is none": ("rate_limit: {interval: 2020-99-99}\n", "rate_limit.interval: expected a"),
    "5,000 digits": (f"rate_limit: {{burst: {'9' * 5000}}}\n", "line 1: rate_limit.burst: not a valid int"),
    "5,000 digits as a duration": (f"rate_limit: {{interval: {'9' * 5000}s}}\n", "interval: expected"),
    "5,000 hex digits": (f"rate_limit: {{burst: 0x{'f' * 5000}}}\n", "rate_limit.burst"),
    "a float without end": ("rate_limit: {burst: 1e999999}\n", "rate_limit.burst"),
    "a control character": ("a: \x07\n", "line 1, column 4: expected YAML: a control"),
    "a lone surrogate": ('basic_auth_users: {a: "\\ud800"}\n', "line 1"),
    "two documents": ("{}\n---\n{}\n", "line 2"),
    "a tag": ("a: !!python/object/apply:os.system [ls]\n", "line 1"),
    "a key that is a list": ("? [a]\n: b\n", "line 1"),
    "a merge of nothing": ("<<: 3\n", "line 1"),
    "too large": ("#" * (1 << 20) + "\n", "larger than 1,048,576 bytes"),
    "users twice": (
        f"basic_auth_users: {{a: '{HASH}'}}\nbasic_auth_users: {{b: '{HASH}'}}\n",
        "line 2: basic_auth_users: duplicate key; first defined on line 1",
    ),
    "a user twice": (f"basic_auth_users:\n  a: '{HASH}'\n  a: '{HASH}'\n", "line 3: basic_auth_users.a"),
}  # fmt: skip


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str) -> Path:
        path = tmp_path / "web.yml"
        path.write_text(content)
        return path

    return write


@pytest.mark.parametrize("content", ["", "\n", "# nothing\n", "{}\n"])
def test_a_file_that_is_emptied_lets_nobody_in(write: Write, content: str) -> None:
    assert load(write(content)).current().users.allow(None), "at a start it is what was meant"
    config = load(write(f"basic_auth_users: {{alice: '{HASH}'}}\n"))
    write(content)
    assert not config.current().users.allow(None)
    write("http_server_config: {http2: false}\n")
    assert config.current().users.allow(None)


@pytest.mark.parametrize("key", ["cert_file", "key_file", "client_ca_file"])
def test_a_path_that_is_none_is_refused(write: Write, key: str) -> None:
    with pytest.raises(WebConfigError, match=f"tls_server_config.{key}: expected the path of a fi"):
        load(write(f'tls_server_config: {{{key}: "a\\0b"}}\n'))


@pytest.mark.parametrize(("content", "expected"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_one_line_of_error_and_changes_nothing(
    write: Write, content: str, expected: str
) -> None:
    config = load(write(f"basic_auth_users: {{alice: '{HASH}'}}\n"))
    before = config.current()
    path = write(content)
    began = time.monotonic()
    with pytest.raises(WebConfigError) as raised:
        load(path)
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400 + len(str(path))
    with structlog.testing.capture_logs() as events:
        assert config.current() is before
    assert [event["event"] for event in events] == ["web_config.reload_failed"]
    assert time.monotonic() - began < SECONDS


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/urandom"])
def test_a_file_without_end_is_refused(name: str) -> None:
    with pytest.raises(WebConfigError, match="larger than"):
        load(name)
    with pytest.raises(ConfigError, match="larger than"):
        load_config(name)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WebConfigError, match="can't be read: Is a directory"):
        load(tmp_path)


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.config.files.WAIT_SECONDS", 0.1)
    os.mkfifo(tmp_path / "web.yml")
    assert load(tmp_path / "web.yml").current().headers == ()
    kept = os.open(tmp_path / "web.yml", os.O_RDWR)
    try:
        with pytest.raises(WebConfigError, match="timed out waiting for more data"):
            load(tmp_path / "web.yml")
    finally:
        os.close(kept)


def test_a_pipe_of_a_shell_is_read_whole() -> None:
    reading, writing = os.pipe()

    def feed() -> None:
        os.write(writing, b"http_server_config:\n")
        os.write(writing, b"  headers: {X-Frame-Options: deny}\n")
        os.close(writing)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        settings = load(f"/dev/fd/{reading}").current()
    finally:
        thread.join()
        os.close(reading)
    assert settings.headers == (("X-Frame-Options", "deny"),)


@pytest.mark.parametrize("key", ["cert_file", "key_file", "client_ca_file"])
def test_a_certificate_without_end_is_refused(write: Write, tmp_path: Path, key: str) -> None:
    named = {
        **dict.fromkeys(("cert_file", "key_file", "client_ca_file"), "c.pem"),
        key: "/dev/zero",
    }
    lines = "".join(f"  {name}: {value}\n" for name, value in named.items())
    issued = trustme.CA().issue_cert("a")
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "c.pem"))
    path = write(f"tls_server_config:\n{lines}  client_auth_type: VerifyClientCertIfGiven\n")
    with pytest.raises(
        WebConfigError, match=rf"tls_server_config.{key}: /dev/zero: expected a file"
    ):
        load(path)


# The same judgement as exporter-toolkit


@pytest.mark.parametrize("prefix", ["$2$", "$2a$", "$2b$", "$2x$", "$2y$"])
def test_hashes_of_every_version_let_the_right_password_in(write: Write, prefix: str) -> None:
    path = write(f"basic_auth_users: {{alice: '{prefix + HASH[4:]}'}}\n")
    users = load(path).current().users
    assert users.allow("Basic " + base64.b64encode(b"alice:right").decode())
    assert not users.allow("Basic " + base64.b64encode(b"alice:wrong").decode())


def test_what_a_hash_would_tell_is_left_open() -> None:
    users = Users({"alice": HASH})
    right = "Basic " + base64.b64encode(b"alice:right").decode()
    assert users.known(None) is False
    assert users.known(right) is None
    assert users.allow(right)
    assert users.known(right) is True
    assert Users({}).known(None) is True


@pytest.mark.parametrize(
    ("written", "sent"),
    [("1", "1"), ("0", "0"), ("'1; mode=block'", "1; mode=block"), ("01", "01")],
)
def test_a_header_that_looks_like_a_number_is_a_text(write: Write, written: str, sent: str) -> None:
    path = write(f"http_server_config: {{headers: {{X-XSS-Protection: {written}}}}}\n")
    assert load(path).current().headers == (("X-XSS-Protection", sent),)


def test_a_burst_of_zero_lets_nothing_pass(write: Write) -> None:
    assert not load(write("rate_limit: {interval: 1s, burst: 0}\n")).current().rate.allow()
    assert load(write("rate_limit: {interval: 0, burst: 0}\n")).current().rate.allow()


@pytest.mark.parametrize("word", ["yes", "No", "on", "off", "y", "n", "true", "FALSE"])
def test_switches_take_the_words_of_yaml_1_1(write: Write, word: str) -> None:
    load(write(f"http_server_config: {{http2: {word}}}\n"))


def test_variables_are_texts(write: Write) -> None:
    path = write("http_server_config: {headers: {Content-Security-Policy: 'a ${HOME} $$'}}\n")
    assert load(path).current().headers == (("Content-Security-Policy", "a ${HOME} $$"),)


CERTIFICATE = "cert_file: server.pem, key_file: server.key"
VERIFIED = f"{CERTIFICATE}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem"
GIVEN = f"{CERTIFICATE}, client_auth_type: VerifyClientCertIfGiven"
SUITE = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"


def tls(keys: str) -> str:
    return f"tls_server_config: {{{keys}}}\n"


TAKEN = {
    "empty": "",
    "TLS": tls(GIVEN),
    "a client's certificate is needed": tls(VERIFIED),
    "one cipher suite": tls(f"{GIVEN}, cipher_suites: [{SUITE}]"),
    "the client's order of cipher suites": tls(
        f"{GIVEN}, cipher_suites: [{SUITE}], prefer_server_cipher_suites: false"
    ),
    "every cipher suite of today's Go": tls(
        f"{GIVEN}, cipher_suites: [{SUITE}, TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, "
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, TLS_AES_256_GCM_SHA384]"
    ),
    "one curve": tls(f"{GIVEN}, min_version: TLS13, curve_preferences: [CurveP521]"),
    "no HTTP/2": "http_server_config: {http2: false}\n" + tls(GIVEN),
    "an allowed name": tls(f"{VERIFIED}, client_allowed_sans: [a.example]"),
    "users": f"basic_auth_users:\n  alice: {HASH}\n  bob: {HASH}\n",
    "users and TLS": f"basic_auth_users: {{alice: '{HASH}'}}\n" + tls(GIVEN),
    "headers": textwrap.dedent("""\
        http_server_config:
          headers:
            Strict-Transport-Security: max-age=600
            X-Frame-Options: sameorigin
            X-Content-Type-Options: nosniff
            X-XSS-Protection: 0
            Content-Security-Policy: default-src 'self'
        """),
    "a rate limit": "rate_limit: {interval: 1s, burst: 1}\n",
    "a rate limit that is off": "rate_limit: {interval: 0, burst: 0}\n",
}
REFUSED = {
    "a list": "- tls_server_config\n",
    "a text": "anything\n",
    "an unknown key": "tls_server_conf: {}\n",
    "an empty certificate path": tls("cert_file: '', key_file: server.key"),
    "an empty key path": tls("cert_file: server.pem, key_file: ''"),
    "two empty paths": tls("cert_file: '', key_file: '', client_auth_type: RequestClientCert"),
    "an empty certificate": tls("cert: '', key_file: server.key"),
    "an empty key": tls("cert_file: server.pem, key: ''"),
    "no such certificate": tls("cert_file: none.pem, key_file: server.key"),
    "no such key": tls("cert_file: server.pem, key_file: none.key"),
    "neither of the two": tls("cert_file: none.pem, key_file: none.key"),
    "an authority without a policy": tls(f"{CERTIFICATE}, client_ca_file: ca.pem"),
    "an unknown policy": tls(f"{CERTIFICATE}, client_auth_type: Always"),
    "no such authority": tls(VERIFIED.replace("ca.pem", "none.pem")),
    "an authority without certificates": tls(VERIFIED.replace("ca.pem", "empty.pem")),
    "an authority that is no PEM": tls(VERIFIED.replace("client_ca_file: ca.pem", "client_ca: a")),
    "an unknown cipher suite": tls(f"{GIVEN}, cipher_suites: [TLS_MADE_UP]"),
    "an unknown curve": tls(f"{GIVEN}, curve_preferences: [CurveMadeUp]"),
    "an unknown version": tls(f"{GIVEN}, min_version: TLS111"),
    "names without a certificate": tls(f"{CERTIFICATE}, client_allowed_sans: [a.example]"),
    "names and no policy, none of them": tls(f"{CERTIFICATE}, client_allowed_sans: []"),
    "names and an optional certificate": tls(f"{GIVEN}, client_allowed_sans: [a.example]"),
    "a password for a hash": "basic_auth_users: {alice: secret}\n",
    "another header": "http_server_config: {headers: {X-Powered-By: a}}\n",
    "frame options": "http_server_config: {headers: {X-Frame-Options: always}}\n",
    "content type options": "http_server_config: {headers: {X-Content-Type-Options: sniff}}\n",
}


@pytest.fixture
def certificates(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "server.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "empty.pem").write_text("# no certificate\n")


@pytest.mark.usefixtures("certificates")
@pytest.mark.parametrize("content", TAKEN.values(), ids=TAKEN)
def test_what_the_toolkit_takes_is_taken(write: Write, content: str) -> None:
    load(write(content))


@pytest.mark.usefixtures("certificates")
@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_what_the_toolkit_refuses_is_refused(write: Write, content: str) -> None:
    with pytest.raises(WebConfigError):
        load(write(content))


@pytest.mark.usefixtures("certificates")
def test_an_empty_list_of_names_allows_nobody(write: Write) -> None:
    config = load(write(tls(f"{VERIFIED}, client_allowed_sans: []")))
    assert config.current().client_sans == frozenset()
