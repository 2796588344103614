"""The keys of the file as typed models. An error names the key and what was expected."""

import re
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from exporter.config.yaml_source import plain_key
from exporter.web.webconfig.ciphers import TLS12_SUITES, TLS13_SUITES, Curve

_BCRYPT = re.compile(r"\$2[a-z]?\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}")
_GO_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|us|µs|ns|s|m|h)")
_GO_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

_LONGEST_SECONDS = 2**63 / 1e9  # Go counts nanoseconds
_TRUTHS = {"y": True, "yes": True, "on": True, "n": False, "no": False, "off": False}

_ClientAuth = Literal[
    "", "NoClientCert", "RequestClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"
]
_Version = Literal["TLS10", "TLS11", "TLS12", "TLS13"]
# The headers that can be set, and their allowed values if these are an enumeration.
_HEADERS: dict[str, tuple[str, ...]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}


def _client_auth(value: object) -> object:
    if value in ("RequireAnyClientCert", "RequireClientCert"):
        message = "unverified client certificates are not supported; use RequireAndVerifyClientCert"
        raise ValueError(message)
    return value


def _suite(value: str) -> str:
    if value not in TLS12_SUITES and value not in TLS13_SUITES:
        message = f"expected one of {', '.join([*TLS12_SUITES, *sorted(TLS13_SUITES)])}"
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
            message = f"{plain_key(name)} cannot be set; expected one of {', '.join(_HEADERS)}"
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
    seconds = sum(float(number) * _GO_UNITS[unit] for number, unit in _GO_DURATION.findall(value))
    if seconds > _LONGEST_SECONDS:
        message = "expected a duration of at most 290 years"
        raise ValueError(message)
    return seconds


def _switch(value: object) -> object:
    """Accept YAML 1.1's words for booleans, as Go's YAML does."""
    return _TRUTHS.get(value.lower(), value) if isinstance(value, str) else value


_Switch = Annotated[bool, BeforeValidator(_switch)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


def _path(value: str) -> str:
    if "\0" in value:
        message = "expected the path of a file"
        raise ValueError(message)
    return value


_Path = Annotated[str, AfterValidator(_path)]


class TlsServerConfig(_Section):
    """The section `tls_server_config`."""

    cert: str = ""
    key: str = ""
    client_ca: str = ""
    cert_file: _Path = ""
    key_file: _Path = ""
    client_ca_file: _Path = ""
    client_auth_type: Annotated[_ClientAuth, BeforeValidator(_client_auth)] = ""
    client_allowed_sans: list[str] | None = None  # an empty list allows nobody
    min_version: _Version = "TLS12"
    max_version: Literal["TLS12", "TLS13"] = "TLS13"
    cipher_suites: list[Annotated[str, AfterValidator(_suite)]] = []
    curve_preferences: Annotated[list[Curve], Field(max_length=1)] = []
    prefer_server_cipher_suites: _Switch = True

    @property
    def enabled(self) -> bool:
        """Return whether TLS is configured, by the same keys as in exporter-toolkit."""
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
    http2: _Switch = True
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = {}


class _RateLimitConfig(_Section):
    interval: Annotated[float, BeforeValidator(_go_seconds)] = 0.0
    burst: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0  # as large as Go's

    @model_validator(mode="after")
    def _burst_lets_some_pass(self) -> Self:
        # An explicit burst of 0 lets nothing pass, as in exporter-toolkit. A missing one was
        # probably forgotten.
        meant = self.burst == 0 and "burst" in self.model_fields_set
        if self.interval and self.burst < 1 and not meant:
            message = "burst: expected at least 1 if interval is set"
            raise ValueError(message)
        return self


class File(_Section):
    """The whole file."""

    tls_server_config: TlsServerConfig = TlsServerConfig()
    http_server_config: _Http = _Http()
    basic_auth_users: dict[str, Annotated[str, AfterValidator(_bcrypt_hash)]] = {}
    rate_limit: _RateLimitConfig = _RateLimitConfig()
