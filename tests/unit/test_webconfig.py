"""Prometheus's web config file: what is accepted, what is refused, and what a change does."""

import base64
import os
import ssl
import textwrap
from collections.abc import Callable
from pathlib import Path

import bcrypt
import pytest
import structlog.testing
import trustme
from cryptography.hazmat.primitives import serialization

from exporter.web import webconfig
from exporter.web.webconfig import RateLimit, Users, WebConfigError, load
from exporter.web.webconfig.ciphers import TLS12_SUITES

HASH = "$2b$04$j5Q1A5jFFNXt2FRGoAH4ROl0Dv3FMVUA/w.l0W98SQZMlwVAp5s6G"
"""Hash of the password `right`; always the same, because it is part of the names of tests."""
Write = Callable[[str], Path]


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def write(tmp_path: Path, authority: trustme.CA) -> Write:
    """Write a config next to `c.pem`, its `c.key`, an unrelated `x.key` and `ca.pem`."""
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "c.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "c.key"))
    authority.issue_cert("x").private_key_pem.write_to_path(str(tmp_path / "x.key"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "text").write_text("no PEM\n")

    def write(content: str) -> Path:
        path = tmp_path / "web.yml"
        path.write_text(content)
        return path

    return write


def tls(rest: str = "") -> str:
    return f"tls_server_config: {{cert_file: c.pem, key_file: c.key, {rest}}}\n"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def context(path: Path) -> ssl.SSLContext:
    found = load(path).current().context
    assert found is not None
    return found


# What is accepted


@pytest.mark.parametrize("content", ["", "{}\n", "tls_server_config:\nbasic_auth_users:\n"])
def test_file_that_asks_for_nothing_changes_nothing(write: Write, content: str) -> None:
    config = load(write(content))
    settings = config.current()
    assert not config.tls
    assert (settings.context, settings.headers) == (None, ())
    assert settings.users.allow(None)
    assert all(settings.rate.allow() for _ in range(1000))


def test_tls_is_1_2_and_1_3_and_asks_clients_for_nothing_by_default(write: Write) -> None:
    made = context(write(tls()))
    assert made.minimum_version == ssl.TLSVersion.TLSv1_2
    assert made.maximum_version == ssl.TLSVersion.TLSv1_3
    assert made.verify_mode == ssl.CERT_NONE
    assert made.options & ssl.OP_CIPHER_SERVER_PREFERENCE


@pytest.mark.parametrize(
    ("given", "low", "high"),
    [
        ("min_version: TLS10", "TLSv1_2", "TLSv1_3"),
        ("min_version: TLS13", "TLSv1_3", "TLSv1_3"),
        ("max_version: TLS12", "TLSv1_2", "TLSv1_2"),
        ("cipher_suites: [TLS_AES_128_GCM_SHA256]", "TLSv1_3", "TLSv1_3"),
    ],
)
def test_versions(write: Write, given: str, low: str, high: str) -> None:
    made = context(write(tls(given)))
    assert (made.minimum_version.name, made.maximum_version.name) == (low, high)


def test_cipher_suites_are_go_names_in_order(write: Write) -> None:
    suites = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"
    made = context(write(tls(f"cipher_suites: [{suites}], prefer_server_cipher_suites: false")))
    names = [cipher["name"] for cipher in made.get_ciphers() if cipher["protocol"] != "TLSv1.3"]
    assert names == ["ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-SHA"]
    assert not made.options & ssl.OP_CIPHER_SERVER_PREFERENCE


def test_every_go_suite_is_known_to_openssl() -> None:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for name in TLS12_SUITES.values():
        made.set_ciphers(name)


@pytest.mark.parametrize("curve", ["CurveP256", "CurveP384", "CurveP521", "X25519"])
def test_one_curve_is_taken(write: Write, curve: str) -> None:
    assert context(write(tls(f"curve_preferences: [{curve}]")))


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ("client_auth_type: NoClientCert", ssl.CERT_NONE),
        ("client_auth_type: RequestClientCert", ssl.CERT_NONE),
        ("client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem", ssl.CERT_OPTIONAL),
        ("client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem", ssl.CERT_REQUIRED),
        ("client_auth_type: RequireAndVerifyClientCert", ssl.CERT_REQUIRED),
    ],
)
def test_client_auth_types(write: Write, given: str, mode: ssl.VerifyMode) -> None:
    assert context(write(tls(given))).verify_mode == mode


def test_certificates_may_stand_in_the_file(write: Write, tmp_path: Path) -> None:
    content = "tls_server_config:\n  client_auth_type: RequireAndVerifyClientCert\n"
    for key, name in (("cert", "c.pem"), ("key", "c.key"), ("client_ca", "ca.pem")):
        content += f"  {key}: |\n" + textwrap.indent((tmp_path / name).read_text(), "    ")
    assert len(context(write(content)).get_ca_certs()) == 1


def test_paths_are_relative_to_the_file(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tls())
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert context(path)


def test_headers_are_given_without_blank_ones(write: Write) -> None:
    content = "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n"
    settings = load(write(content + "    Content-Security-Policy: ''\n")).current()
    assert settings.headers == (("X-Frame-Options", "deny"),)


# What is refused


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("- a\n", "expected keys: tls_server_config, http_server_config, basic_auth_users"),
        ("a: [\n", r"web.yml: line 2, column 1: expected YAML"),
        ("tls_config: {}\n", "tls_config: unknown key; did you mean tls_server_config?"),
        (tls("cert_fil: x"), "tls_server_config.cert_fil: unknown key; did you mean cert_file?"),
        ("rate_limit: {zzz: 1}\n", "rate_limit.zzz: unknown key; expected one of interval, burst"),
        ("rate_limit: {interval: 5}\n", "interval: expected a duration such as 1s"),
        ("rate_limit: {interval: 1s}\n", "burst: expected at least 1"),
        ("basic_auth_users: {a: 12}\n", "basic_auth_users.a: Input should be a valid string"),
        ("basic_auth_users: {a: secret}\n", "basic_auth_users.a: expected a bcrypt hash"),
        (f"basic_auth_users: {{a: '{HASH}x'}}\n", "basic_auth_users.a: expected a bcrypt hash"),
        ("tls_server_config: {key_file: c.key}\n", "cert_file: required with TLS"),
        ("tls_server_config: {cert_file: c.pem}\n", "key_file: required with TLS"),
        (
            "tls_server_config: {cert_file: no.pem, key_file: c.key}\n",
            "tls_server_config.cert_file: .*no.pem: can't be read: No such file",
        ),
        (
            "tls_server_config: {cert_file: c.pem, key_file: x.key}\n",
            "key_file: expected a PEM certificate and its own private key .*KEY_VALUES_MISMATCH",
        ),
        ("tls_server_config: {cert_file: c.pem, key_file: text}\n", "key_file: expected a PEM"),
        (tls("client_ca_file: ca.pem"), "client_auth_type: required with client_ca_file"),
        (
            tls("client_auth_type: VerifyClientCertIfGiven, client_ca_file: text"),
            "client_ca_file: expected PEM certificates",
        ),
        (
            tls("client_auth_type: VerifyClientCertIfGiven, client_ca: text"),
            "client_ca_file: expected PEM certificates",
        ),
        (
            tls("client_auth_type: VerifyClientCertIfGiven, client_ca_file: no.pem"),
            "client_ca_file: .*no.pem: can't be read",
        ),
        (tls("client_auth_type: RequireAnyClientCert"), "use RequireAndVerifyClientCert"),
        (tls("client_auth_type: Some"), "client_auth_type: Input should be .*'NoClientCert'"),
        (tls("client_allowed_sans: [a]"), "client_allowed_sans: requires client_auth_type"),
        (tls("min_version: SSL30"), "min_version: Input should be 'TLS10'"),
        (tls("max_version: TLS11"), "max_version: Input should be 'TLS12' or 'TLS13'"),
        (
            tls("min_version: TLS13, max_version: TLS12"),
            "max_version: TLS12 conflicts with min_version",
        ),
        (tls("cipher_suites: [RC4]"), r"cipher_suites.0: expected one of TLS_ECDHE_ECDSA"),
        (tls("curve_preferences: [CurveP256, X25519]"), "curve_preferences: expected only one of"),
        (tls("curve_preferences: [P1]"), "curve_preferences.0: Input should be 'CurveP256'"),
        ("http_server_config: {headers: {Server: x}}\n", "headers: Server cannot be set"),
        ("http_server_config: {headers: {X-Frame-Options: a}}\n", "expected deny or sameorigin"),
        (
            'http_server_config: {headers: {X-XSS-Protection: "a\\r\\nB: c"}}\n',
            "X-XSS-Protection: expected printable ASCII on one line",
        ),
    ],
)
def test_fault_is_named_with_its_key_and_what_was_expected(
    write: Write, content: str, expected: str
) -> None:
    path = write(content)
    with pytest.raises(WebConfigError, match=expected) as raised:
        load(path)
    assert str(path) in str(raised.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WebConfigError, match=r"none.yml: can't be read: No such file"):
        load(tmp_path / "none.yml")


def test_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "web.yml").write_bytes(b"\xff\xfe")
    with pytest.raises(WebConfigError, match="expected UTF-8 text"):
        load(tmp_path / "web.yml")


@pytest.mark.parametrize(
    "content",
    [
        "basic_auth_users: {a: hunter2}\n",
        "basic_auth_users: {a: [hunter2]}\n",
        "basic_auth_users: {a: *hunter2}\n",
        "basic_auth_users: {a: !hunter2 b}\n",
        "basic_auth_users: {a: hunter2\n",
        "basic_auth_users: hunter2\n",
        "tls_server_config: {key: hunter2, cert: hunter2}\n",
        "tls_server_config: {key: [hunter2], cert: a}\n",
    ],
)
def test_fault_never_quotes_a_secret(write: Write, content: str) -> None:
    with pytest.raises(WebConfigError) as raised:
        load(write(content))
    error: BaseException | None = raised.value
    while error is not None:
        assert "hunter2" not in repr(error)
        error = error.__cause__


def test_encrypted_key_is_refused_without_asking_for_its_passphrase(
    write: Write, tmp_path: Path
) -> None:
    key = serialization.load_pem_private_key((tmp_path / "c.key").read_bytes(), None)
    (tmp_path / "c.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    with pytest.raises(WebConfigError, match="without a passphrase"):
        load(write(tls()))


# Users


@pytest.fixture
def hashings(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Collect the stored hashes against which passwords were really checked."""
    checked: list[bytes] = []
    original = bcrypt.checkpw

    def check(password: bytes, stored: bytes) -> bool:
        checked.append(stored)
        return original(password, stored)

    monkeypatch.setattr(bcrypt, "checkpw", check)
    return checked


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        (basic("alice", "right"), True),
        (basic("alice", "right").replace("Basic", "bASIC"), True),
        (basic("alice", "wrong"), False),
        (basic("alice", ""), False),
        (basic("bob", "right"), False),
        (basic("", "right"), False),
        (None, False),
        ("", False),
        ("Basic", False),
        ("Basic !!!", False),
        ("Basic \xff", False),
        ("Basic " + base64.b64encode(b"alice").decode(), False),
        ("Bearer " + base64.b64encode(b"alice:right").decode(), False),
    ],
)
def test_user_needs_the_right_password(header: str | None, allowed: bool) -> None:
    assert Users({"alice": HASH}).allow(header) is allowed


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
def test_hashes_of_every_tool_are_understood(prefix: str) -> None:
    assert Users({"alice": prefix + HASH[4:]}).allow(basic("alice", "right"))


def test_password_may_hold_colons_and_any_letters_and_be_long() -> None:
    password = "ü:" + "x" * 100
    hashed = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode()
    assert Users({"älice": hashed}).allow(basic("älice", password))


def test_right_password_is_hashed_once_and_a_wrong_one_each_time(hashings: list[bytes]) -> None:
    users = Users({"alice": HASH, "bob": HASH})
    assert all(users.allow(basic("alice", "right")) for _ in range(3))
    assert len(hashings) == 1
    assert not any(users.allow(basic("alice", "wrong")) for _ in range(3))
    assert len(hashings) == 4
    assert users.allow(basic("bob", "right"))
    assert len(hashings) == 5


def test_unknown_user_costs_as_much_as_a_known_one(hashings: list[bytes]) -> None:
    costly = bcrypt.hashpw(b"other", bcrypt.gensalt(5)).decode()
    users = Users({"alice": HASH, "bob": costly})
    assert users.allow(basic("bob", "other"))
    assert not users.allow(basic("mallory", "other"))
    assert not users.allow(basic("mallory", "other"))
    assert hashings == [costly.encode()] * 3


def test_remembered_passwords_are_bounded(
    monkeypatch: pytest.MonkeyPatch, hashings: list[bytes]
) -> None:
    monkeypatch.setattr(webconfig.users, "_REMEMBERED_LOGINS", 2)
    users = Users(dict.fromkeys("abc", HASH))
    for user in "abcc":
        assert users.allow(basic(user, "right"))
    assert len(hashings) == 3
    assert users.allow(basic("a", "right"))
    assert len(hashings) == 4


def test_something_that_only_looks_like_a_hash_lets_nobody_in() -> None:
    assert not Users({"alice": "$2y$04$" + "z" * 53}).allow(basic("alice", "right"))


# Rate limit


def test_rate_limit_is_a_token_bucket() -> None:
    now = [0.0]
    limit = RateLimit(0.5, 2, clock=lambda: now[0])
    assert [limit.allow() for _ in range(3)] == [True, True, False]
    now[0] = 0.5
    assert [limit.allow() for _ in range(2)] == [True, False]
    now[0] = 100.0
    assert [limit.allow() for _ in range(3)] == [True, True, False]


# Changes


def changed(config: webconfig.WebConfig) -> tuple[webconfig.WebSettings, list[str]]:
    """Return the settings after a change, and the events of the reload."""
    with structlog.testing.capture_logs() as events:
        settings = config.current()
        assert config.current() is settings
    return settings, [event["event"] for event in events]


def test_unchanged_files_are_not_read_again(write: Write) -> None:
    config = load(write(tls()))
    first = config.current()
    assert changed(config) == (first, [])


def test_users_change_with_the_file(write: Write) -> None:
    config = load(write(f"basic_auth_users: {{alice: '{HASH}'}}\n"))
    assert config.current().users.allow(basic("alice", "right"))
    write(f"basic_auth_users: {{bobby: '{HASH}'}}\n# another size\n")
    settings, events = changed(config)
    assert not settings.users.allow(basic("alice", "right"))
    assert settings.users.allow(basic("bobby", "right"))
    assert events == ["web_config.reloaded"]


@pytest.mark.parametrize("name", ["c.pem", "c.key", "ca.pem"])
def test_each_file_that_is_named_is_watched(write: Write, tmp_path: Path, name: str) -> None:
    config = load(write(tls("client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem")))
    before = config.current()
    os.utime(tmp_path / name, ns=(1, 1))
    settings, events = changed(config)
    assert settings.context is not before.context
    assert events == ["web_config.reloaded"]


@pytest.mark.parametrize(
    "content", ["tls_server_config: [\n", "{}\n", tls("cert_fil: a"), tls("max_version: TLS1")]
)
def test_unusable_change_leaves_what_was_in_force_and_is_logged_once(
    write: Write, content: str
) -> None:
    config = load(write(tls()))
    before = config.current()
    write(content)
    assert changed(config) == (before, ["web_config.reload_failed"])
    write(tls("max_version: TLS12"))
    settings, events = changed(config)
    assert settings is not before
    assert events == ["web_config.reloaded"]


def test_certificate_is_taken_up_when_its_key_follows(
    write: Write, tmp_path: Path, authority: trustme.CA
) -> None:
    config = load(write(tls()))
    before = config.current()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "c.pem"))
    assert changed(config) == (before, ["web_config.reload_failed"])
    issued.private_key_pem.write_to_path(str(tmp_path / "c.key"))
    assert changed(config)[1] == ["web_config.reloaded"]


def test_file_that_was_named_before_it_was_there_is_taken_up_when_it_comes(
    write: Write, tmp_path: Path
) -> None:
    config = load(write(tls()))
    write("tls_server_config: {cert_file: new.pem, key_file: c.key}\n")
    assert changed(config)[1] == ["web_config.reload_failed"]
    (tmp_path / "new.pem").write_bytes((tmp_path / "c.pem").read_bytes())
    assert changed(config)[1] == ["web_config.reloaded"]


def test_file_that_is_gone_is_no_change_of_what_is_in_force(write: Write) -> None:
    path = write(f"basic_auth_users: {{alice: '{HASH}'}}\n")
    config = load(path)
    path.unlink()
    settings, events = changed(config)
    assert not settings.users.allow(None)
    assert events == ["web_config.reload_failed"]
