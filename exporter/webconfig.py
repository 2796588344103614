"""Prometheus's web configuration file: TLS, client certificates, users, response headers.

The format is exporter-toolkit's (`docs/web-configuration.md` there), so that one file serves every
exporter of a user. Where Python's TLS differs from Go's:

- `client_auth_type: RequireAnyClientCert` is refused: OpenSSL behind Python verifies whatever it
  asks for. `RequestClientCert` is taken as `NoClientCert`: nothing would look at the certificate.
- `min_version` below TLS12 is taken as TLS12, and a `max_version` below TLS12 is refused.
- `cipher_suites` decides on TLS 1.2; the suites of TLS 1.3 can't be chosen (nor can they in Go). A
  list of TLS 1.3 suites alone switches TLS 1.2 off.
- `curve_preferences` may name one curve, which is then the only one; several are refused.
- `http2` is accepted and does nothing: HTTP/1.1 is served.
- `cert` and `key` in the file itself need Linux; `cert_file` and `key_file` work everywhere.
"""

import base64
import binascii
import difflib
import hashlib
import ipaddress
import os
import re
import secrets
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self, cast, get_args

import bcrypt
import structlog
import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

log = structlog.get_logger(__name__)

_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}")
_BCRYPT_INPUT_BYTES = 72  # it looks at no more: Go cuts the rest off, the library refuses it
_Signature = tuple[int, int, int] | None  # of a file: mtime in ns, size in bytes, inode
_REMEMBERED_LOGINS = 256
_GO_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|s|m|h)")
_GO_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

_ClientAuth = Literal[
    "", "NoClientCert", "RequestClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"
]
_Version = Literal["TLS10", "TLS11", "TLS12", "TLS13"]
_Curve = Literal["CurveP256", "CurveP384", "CurveP521", "X25519"]
_CURVES = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
# The headers that can be set, and their values where these are an enumeration.
_HEADERS: dict[str, tuple[str, ...]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}
_TLS12_SUITES = {
    f"TLS_ECDHE_{key}_WITH_{go}": f"ECDHE-{key}-{openssl}"
    for key in ("ECDSA", "RSA")
    for go, openssl in (
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
        ("AES_128_CBC_SHA", "AES128-SHA"),
        ("AES_256_CBC_SHA", "AES256-SHA"),
    )
}
_TLS13_SUITES = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}


class WebConfigError(Exception):
    """The file can't be used; the text names the key and what was expected, never a secret."""


def _client_auth(value: object) -> object:
    if value in ("RequireAnyClientCert", "RequireClientCert"):
        message = "a certificate can't be taken unverified here; use RequireAndVerifyClientCert"
        raise ValueError(message)
    return value


def _suite(value: str) -> str:
    if value not in _TLS12_SUITES and value not in _TLS13_SUITES:
        message = f"expected one of {', '.join([*_TLS12_SUITES, *sorted(_TLS13_SUITES)])}"
        raise ValueError(message)
    return value


def _bcrypt_hash(value: str) -> str:
    if not _BCRYPT.fullmatch(value):
        message = 'expected a bcrypt hash ($2y$…, as `htpasswd -nBC 10 ""` prints it)'
        raise ValueError(message)
    return value


def _headers(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if name not in _HEADERS:
            message = f"{name} can't be set; expected one of {', '.join(_HEADERS)}"
            raise ValueError(message)
        allowed = _HEADERS[name]
        if allowed and text not in allowed:
            message = f"{name}: expected {' or '.join(allowed)}"
            raise ValueError(message)
        if not text.isascii() or not text.isprintable():
            message = f"{name}: expected printable ASCII on one line"
            raise ValueError(message)
    return {name: text for name, text in value.items() if text}


def _go_seconds(value: object) -> object:
    if value == 0 and not isinstance(value, bool):
        return 0.0
    if not isinstance(value, str) or not re.fullmatch(f"(?:{_GO_DURATION.pattern})+|0", value):
        message = "expected a duration such as 1s or 250ms"
        raise ValueError(message)
    return sum(float(number) * _GO_UNITS[unit] for number, unit in _GO_DURATION.findall(value))


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class _Tls(_Section):
    cert: str = ""
    key: str = ""
    client_ca: str = ""
    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    client_auth_type: Annotated[_ClientAuth, BeforeValidator(_client_auth)] = ""
    client_allowed_sans: list[str] = []
    min_version: _Version = "TLS12"
    max_version: Literal["TLS12", "TLS13"] = "TLS13"
    cipher_suites: list[Annotated[str, AfterValidator(_suite)]] = []
    curve_preferences: Annotated[list[_Curve], Field(max_length=1)] = []
    prefer_server_cipher_suites: bool = True

    @property
    def enabled(self) -> bool:
        """Whether TLS is asked for, by the same keys as in exporter-toolkit."""
        given = (
            self.cert,
            self.key,
            self.client_ca,
            self.cert_file,
            self.key_file,
            self.client_ca_file,
        )
        return any(given) or bool(self.client_auth_type)


class _Http(_Section):
    http2: bool = True
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = {}


class _RateLimit(_Section):
    interval: Annotated[float, BeforeValidator(_go_seconds)] = 0.0
    burst: int = 0

    @model_validator(mode="after")
    def _burst_lets_some_pass(self) -> Self:
        if self.interval and self.burst < 1:
            message = "burst: expected at least 1 with an interval"
            raise ValueError(message)
        return self


class _File(_Section):
    tls_server_config: _Tls = _Tls()
    http_server_config: _Http = _Http()
    basic_auth_users: dict[str, Annotated[str, AfterValidator(_bcrypt_hash)]] = {}
    rate_limit: _RateLimit = _RateLimit()


class Users:
    """Who may come in: users and their bcrypt hashes.

    A right password is hashed once, and after that known by a keyed digest.
    """

    def __init__(self, hashes: Mapping[str, str]) -> None:
        """Take `hashes` by user name."""
        self._hashes = {user.encode(): value.encode() for user, value in hashes.items()}
        # Checked for unknown users, so that the time taken doesn't tell which users there are.
        self._decoy = max(
            self._hashes.values(), key=lambda value: value.split(b"$")[2], default=b""
        )
        self._digest_key = secrets.token_bytes(32)
        self._known: set[bytes] = set()
        # One hash at a time: strangers who guess get one core, not all.
        self._hashing = threading.Lock()

    def allow(self, authorization: str | None) -> bool:
        """Tell whether this header has a user and the password; yes, where there are no users."""
        if not self._hashes:
            return True
        credentials = _basic_credentials(authorization)
        if credentials is None:
            return False
        user, password = credentials
        stored = self._hashes.get(user)
        digest = self._digest(user, password, stored or self._decoy)
        if digest in self._known:
            return True
        with self._hashing:
            matches = _matches(password, stored or self._decoy)
        if not matches or stored is None:
            return False
        if len(self._known) >= _REMEMBERED_LOGINS:
            self._known.clear()
        self._known.add(digest)
        return True

    def _digest(self, *parts: bytes) -> bytes:
        digest = hashlib.blake2b(key=self._digest_key, digest_size=32)
        for part in parts:
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.digest()


class RateLimit:
    """A token bucket: `burst` requests at once, then one every `interval_seconds`."""

    def __init__(
        self, interval_seconds: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start full; an interval of 0 is no limit."""
        self._interval_seconds, self._burst, self._clock = interval_seconds, burst, clock
        self._tokens, self._filled = float(burst), clock()
        self._lock = threading.Lock()

    def allow(self) -> bool:
        """Whether one more request may be served now."""
        if not self._interval_seconds:
            return True
        with self._lock:
            now = self._clock()
            self._tokens = min(
                self._burst, self._tokens + (now - self._filled) / self._interval_seconds
            )
            self._filled = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


@dataclass(frozen=True, slots=True)
class Settings:
    """What the file says at one moment."""

    context: ssl.SSLContext | None
    client_sans: frozenset[str]
    headers: tuple[tuple[str, str], ...]
    users: Users
    rate: RateLimit

    def allow_client(self, connection: ssl.SSLSocket) -> bool:
        """Tell whether the client's verified certificate has an allowed name, if names are set."""
        if not self.client_sans:
            return True
        certificate = connection.getpeercert() or {}
        # typeshed has one type for all fields of a certificate; here it is pairs of kind and value
        names = cast("tuple[tuple[str, str], ...]", certificate.get("subjectAltName", ()))
        return any(_san(kind, value) in self.client_sans for kind, value in names)


class WebConfig:
    """The web configuration in force: read again when one of its files has changed.

    A change that can't be used is logged once as `web_config.reload_failed`, and what was in force
    stays in force; so does one that switches TLS on or off, which takes a restart.
    """

    def __init__(self, path: Path) -> None:
        """Read `path` and what it names; raises `WebConfigError`."""
        self._path = path
        self._lock = threading.Lock()
        self._seen: dict[Path, _Signature] = {}
        self._settings = self._read()

    @property
    def tls(self) -> bool:
        """Whether TLS is served."""
        return self._settings.context is not None

    def current(self) -> Settings:
        """Return what the files say now: a `stat` of each, and a reading where one has changed."""
        if self._changed():
            with self._lock:
                if self._changed():
                    self._reload()
        return self._settings

    def _changed(self) -> bool:
        return any(_signature(path) != seen for path, seen in self._seen.items())

    def _reload(self) -> None:
        try:
            settings = self._read()
            if (settings.context is not None) is not self.tls:
                message = f"{self._path}: tls_server_config: TLS on or off takes a restart"
                raise WebConfigError(message)  # noqa: TRY301 # treated as every unusable change
        except WebConfigError as error:
            # The text says all; a traceback would add nothing.
            log.error("web_config.reload_failed", reason=str(error))  # noqa: TRY400
        else:
            self._settings = settings
            log.info("web_config.reloaded", path=str(self._path))

    def _read(self) -> Settings:
        try:
            return self._read_files()
        except WebConfigError as error:
            raise WebConfigError(f"{self._path}: {error}") from error.__cause__

    def _read_files(self) -> Settings:
        # Signatures are taken before the reading, so that a change meanwhile is seen next time; and
        # kept when the reading fails, so that the same fault is found and logged once.
        self._seen = {path: _signature(path) for path in (self._path, *self._seen)}
        own = self._seen[self._path]
        parsed = _parse(self._path)
        folder, tls = self._path.parent, parsed.tls_server_config
        named = [name for name in (tls.cert_file, tls.key_file, tls.client_ca_file) if name]
        self._seen = {folder / name: _signature(folder / name) for name in named}
        self._seen[self._path] = own
        return Settings(
            context=_context(tls, folder) if tls.enabled else None,
            client_sans=frozenset(_san("", value) for value in tls.client_allowed_sans),
            headers=tuple(parsed.http_server_config.headers.items()),
            users=Users(parsed.basic_auth_users),
            rate=RateLimit(parsed.rate_limit.interval, parsed.rate_limit.burst),
        )


def load(path: Path | str) -> WebConfig:
    """Read the web configuration at `path`; paths in it are relative to its folder.

    Raises `WebConfigError`.
    """
    return WebConfig(Path(path))


def _signature(path: Path) -> _Signature:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _parse(path: Path) -> _File:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WebConfigError(f"can't be read: {error.strerror}") from error
    except UnicodeDecodeError:
        message = "expected UTF-8 text"
        raise WebConfigError(message) from None
    except yaml.YAMLError as error:
        # Neither the error's text nor the error goes on: both quote the file, which holds secrets.
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise WebConfigError(f"{where}expected YAML") from None
    if not isinstance(document, dict | None):
        raise WebConfigError(f"expected keys: {', '.join(_File.model_fields)}")
    try:
        return _File.model_validate(_without_nulls(document))
    except ValidationError as error:
        raise WebConfigError(_first_fault(error)) from None


def _without_nulls(value: object) -> object:
    """Drop keys without a value: they are keys not given, as Go's YAML has it."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return {} if value is None else value


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    *parents, key = [str(part) for part in fault["loc"]] or ["the file"]
    where = ".".join([*parents, key])
    if fault["type"] == "extra_forbidden":
        known = _keys_under(parents)
        near = difflib.get_close_matches(key, known, n=1)
        return f"{where}: unknown key; " + (
            f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
        )
    if fault["loc"][-2:-1] == ("tls_server_config",) and key == "curve_preferences":
        return f"{where}: expected only one of {', '.join(get_args(_Curve))}"
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}"


def _keys_under(parents: Sequence[str]) -> list[str]:
    section = _File.model_fields[parents[0]].annotation if parents else _File
    return list(section.model_fields) if isinstance(section, type(BaseModel)) else []


def _basic_credentials(authorization: str | None) -> tuple[bytes, bytes] | None:
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    user, colon, password = decoded.partition(b":")
    return (user, password) if colon else None


def _matches(password: bytes, stored: bytes) -> bool:
    try:
        return bcrypt.checkpw(password[:_BCRYPT_INPUT_BYTES], stored)
    except ValueError:  # a hash that only looked like one
        return False


def _san(kind: str, value: str) -> str:
    """Write an address in one way, so that both ends' spellings of it compare."""
    try:
        return str(ipaddress.ip_address(value.strip())) if kind in ("", "IP Address") else value
    except ValueError:
        return value


def _context(tls: _Tls, folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    _set_versions_and_ciphers(context, tls)
    if tls.curve_preferences:
        context.set_ecdh_curve(_CURVES[tls.curve_preferences[0]])
    _load_own_certificate(context, tls, folder)
    _set_client_authentication(context, tls, folder)
    return context


def _set_versions_and_ciphers(context: ssl.SSLContext, tls: _Tls) -> None:
    suites = [_TLS12_SUITES[name] for name in tls.cipher_suites if name in _TLS12_SUITES]
    only_tls13 = tls.min_version == "TLS13" or (tls.cipher_suites and not suites)
    if only_tls13 and tls.max_version == "TLS12":
        message = "tls_server_config.max_version: TLS12 leaves no version that min_version and "
        raise WebConfigError(message + "cipher_suites allow")
    tls12, tls13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    context.minimum_version = tls13 if only_tls13 else tls12
    context.maximum_version = tls13 if tls.max_version == "TLS13" else tls12
    if suites:
        context.set_ciphers(":".join(suites))
    if not tls.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE


def _load_own_certificate(context: ssl.SSLContext, tls: _Tls, folder: Path) -> None:
    with (
        _pem(folder, "cert", tls.cert_file, tls.cert) as certificate,
        _pem(folder, "key", tls.key_file, tls.key) as key,
    ):
        try:
            # Without a password OpenSSL would ask for one at the terminal.
            context.load_cert_chain(certificate, key, password=lambda: "")
        except ssl.SSLError as error:
            expected = "a PEM certificate and its own private key without a passphrase"
            message = f"tls_server_config.cert_file, key_file: expected {expected}"
            raise WebConfigError(f"{message} ({error.reason or 'not PEM'})") from error


@contextmanager
def _pem(folder: Path, key: str, name: str, inline: str) -> Iterator[str]:
    """Give OpenSSL, which reads only files, the file named or the text in the file's place."""
    if name:
        _readable(folder / name, f"{key}_file")
        yield str(folder / name)
        return
    if not inline:
        raise WebConfigError(f"tls_server_config.{key}_file: expected with TLS, and missing")
    if sys.platform != "linux":
        raise WebConfigError(f"tls_server_config.{key}: needs Linux; use {key}_file")
    memory = os.memfd_create(key)
    try:
        os.write(memory, inline.encode())
        yield f"/proc/self/fd/{memory}"
    finally:
        os.close(memory)


def _readable(path: Path, key: str) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        message = f"tls_server_config.{key}: {path}: can't be read: {error.strerror}"
        raise WebConfigError(message) from error


def _set_client_authentication(context: ssl.SSLContext, tls: _Tls, folder: Path) -> None:
    verified = tls.client_auth_type in ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
    required = tls.client_auth_type == "RequireAndVerifyClientCert"
    if tls.client_allowed_sans and not required:
        message = "tls_server_config.client_allowed_sans: expected with client_auth_type: "
        raise WebConfigError(message + "RequireAndVerifyClientCert")
    if (tls.client_ca_file or tls.client_ca) and tls.client_auth_type in ("", "NoClientCert"):
        message = "tls_server_config.client_auth_type: expected with client_ca_file, and missing"
        raise WebConfigError(message)
    if not verified:
        return
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    try:
        if tls.client_ca_file:
            _readable(folder / tls.client_ca_file, "client_ca_file")
            context.load_verify_locations(cafile=folder / tls.client_ca_file)
        elif tls.client_ca:
            context.load_verify_locations(cadata=tls.client_ca)
        else:  # as in Go: what the machine trusts
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
    except ssl.SSLError as error:
        message = "tls_server_config.client_ca_file: expected PEM certificates"
        raise WebConfigError(message) from error
