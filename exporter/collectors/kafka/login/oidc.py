"""Tokens by OIDC client credentials (RFC 6749, 4.4), configured by librdkafka's properties."""

from __future__ import annotations

import base64
import json
import math
import re
import ssl
import time
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit, urlunsplit
from urllib.request import (
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    ProxyHandler,
    Request,
    build_opener,
)

from exporter.collectors.access import reason_of
from exporter.collectors.kafka.login.tokens import PATIENCE, Token
from exporter.model import CollectError, Reason

URL = "sasl.oauthbearer.token.endpoint.url"
CLIENT_ID = "sasl.oauthbearer.client.id"
CLIENT_SECRET = "sasl.oauthbearer.client.secret"  # noqa: S105 - the name of a property
SCOPE, EXTENSIONS = "sasl.oauthbearer.scope", "sasl.oauthbearer.extensions"
SUBJECT = "sasl.oauthbearer.sub.claim.name"
METHOD, GRANT = "sasl.oauthbearer.method", "sasl.oauthbearer.grant.type"
CA_LOCATION, CA_PEM = "https.ca.location", "https.ca.pem"
ALIASES = {
    "sasl.oauthbearer.client.credentials.client.id": CLIENT_ID,
    "sasl.oauthbearer.client.credentials.client.secret": CLIENT_SECRET,
}
"""Aliases of property names."""
UNDERSTOOD = frozenset(
    {URL, CLIENT_ID, CLIENT_SECRET, SCOPE, EXTENSIONS, SUBJECT, METHOD, GRANT, *ALIASES}
)
"""If any other property begins with `sasl.oauthbearer.`, librdkafka fetches the tokens."""
NEEDED = (URL, CLIENT_ID, CLIENT_SECRET)

MOST_BYTES = 1 << 20
PIECE = 1 << 14
FORM = re.compile(r"[-._~+/0-9A-Za-z]+=*")
"""The token format of RFC 6750."""
KNOWN_ERRORS = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant", "invalid_scope", "access_denied"),
        *("unauthorized_client", "unsupported_grant_type", "server_error"),
        "temporarily_unavailable",
    }
)
"""Error codes that are shown. Other text of the issuer may contain secrets sent to it."""
BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, SERVER_ERROR = 400, 401, 403, 500


def is_ours(properties: Mapping[str, str]) -> bool:
    """Return whether the properties ask for client credentials, with supported options only."""
    if properties.get(METHOD, "").lower() != "oidc":
        return False
    if properties.get(GRANT, "client_credentials").lower() != "client_credentials":
        return False
    names = {name for name in properties if name.startswith("sasl.oauthbearer.")}
    return names <= UNDERSTOOD


def fetch(properties: Mapping[str, str]) -> Token:
    """Request a token from the endpoint. Raises `CollectError` without secrets in its text."""
    given = {ALIASES.get(name, name): value for name, value in properties.items()}
    missing = [name for name in NEEDED if not given.get(name)]
    if missing:
        text = f"sasl.oauthbearer.method oidc needs {' and '.join(missing)} under `client`"
        raise CollectError("invalid", text)
    where = _address(given[URL])
    body = _ask(where, given)
    return _token(where, body, given)


def _address(url: str) -> str:
    """Return the URL without user and password."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        valid = parts.scheme in ("http", "https") and bool(host) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        text = f"{URL} under `client` is no URL that begins with http:// or https://"
        raise CollectError("invalid", text)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))


def _shown(where: str) -> str:
    return f"token endpoint {where.partition('?')[0]}"


class _NoRedirect(HTTPRedirectHandler):
    """Refuses redirects: the client's secret is sent to the configured address only."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


def _ask(where: str, given: Mapping[str, str]) -> bytes:
    """Request a token and return the response body."""
    form = {"grant_type": "client_credentials"}
    if given.get(SCOPE):
        form["scope"] = given[SCOPE]
    login = f"{given[CLIENT_ID]}:{given[CLIENT_SECRET]}".encode()
    request = Request(  # noqa: S310 - the scheme was checked
        where,
        urlencode(form).encode(),
        {
            "Authorization": f"Basic {base64.b64encode(login).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        },
    )
    opener = build_opener(
        ProxyHandler(), HTTPHandler(), HTTPSHandler(context=_context(given)), _NoRedirect()
    )
    until = time.monotonic() + PATIENCE
    try:
        with opener.open(request, timeout=PATIENCE) as answer:
            return _body(where, answer, until)
    except HTTPError as error:
        with error:
            raise _refusal(where, error) from None
    except TimeoutError:
        raise CollectError("timeout", f"{_shown(where)}: no response in time") from None
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason: Reason = "timeout" if "timed out" in str(error).lower() else "unreachable"
        text = f"{_shown(where)}: {reason_of(error)}; check {URL} and https.ca.location"
        raise CollectError(reason, text) from None


def _context(given: Mapping[str, str]) -> ssl.SSLContext:
    location, pem = given.get(CA_LOCATION), given.get(CA_PEM)
    try:
        context = ssl.create_default_context(cadata=pem or None)
        if location and location != "probe":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            for each in location.split(","):
                _load(context, each.strip())
    except (OSError, ssl.SSLError, ValueError) as error:
        text = f"{CA_LOCATION}: {reason_of(error)}; check it under `client`"
        raise CollectError("invalid", text) from None
    return context


def _load(context: ssl.SSLContext, location: str) -> None:
    """Load certificate authorities from a file, or from a folder made by `openssl rehash`."""
    try:
        context.load_verify_locations(cafile=location)
    except IsADirectoryError:
        context.load_verify_locations(capath=location)


def _body(where: str, answer: HTTPResponse, until: float) -> bytes:
    found = bytearray()
    while piece := answer.read1(PIECE):
        found += piece
        if len(found) > MOST_BYTES:
            text = f"{_shown(where)}: the answer is larger than {MOST_BYTES >> 20} MB"
            raise CollectError("invalid", text)
        if time.monotonic() > until:
            raise CollectError("timeout", f"{_shown(where)}: the response did not end in time")
    return bytes(found)


def _refusal(where: str, error: HTTPError) -> CollectError:
    """Describe the endpoint's answer, with no text that may contain a secret."""
    try:
        said = json.loads(error.read1(PIECE))["error"]
    except (ValueError, RecursionError, KeyError, TypeError, OSError, HTTPException):
        said = None
    words = f" ({said})" if isinstance(said, str) and said in KNOWN_ERRORS else ""
    text = f"{_shown(where)}: answered {error.code}{words}"
    if error.code >= SERVER_ERROR:
        return CollectError("unreachable", text)
    if error.code in (BAD_REQUEST, UNAUTHORIZED, FORBIDDEN):
        advice = "check sasl.oauthbearer.client.id, client.secret and scope under `client`"
        return CollectError("unauthorized", f"{text}; {advice}")
    return CollectError("invalid", f"{text}; is {URL} the right address?")


def _token(where: str, body: bytes, given: Mapping[str, str]) -> Token:
    try:
        answer: Any = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    value = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(value, str) or not FORM.fullmatch(value):
        text = f"{_shown(where)}: the answer has no access_token; is {URL} the right address?"
        raise CollectError("invalid", text)
    claims = _claims(value)
    lifetime = _lifetime(answer.get("expires_in"), claims)
    if lifetime is None:
        text = f"{_shown(where)}: neither expires_in nor the token says how long it is valid"
        raise CollectError("invalid", text)
    if lifetime <= 0:
        raise CollectError("invalid", f"{_shown(where)}: the token has expired; check the clocks")
    subject = claims.get(given.get(SUBJECT, "sub"))
    principal = subject if isinstance(subject, str) else ""
    return Token(value, lifetime, principal, _extensions(given.get(EXTENSIONS, "")))


def _claims(token: str) -> Mapping[str, Any]:
    """Return the claims of a JWT; empty for other tokens."""
    parts = token.split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError, IndexError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _lifetime(expires_in: object, claims: Mapping[str, Any]) -> float | None:
    """Return the seconds for which a token is valid.

    Differences of the issuer's times are used, which do not depend on the local clock.
    """
    stated = _seconds(expires_in)
    if stated is not None:
        return stated
    expiry, issued = _seconds(claims.get("exp")), _seconds(claims.get("iat"))
    if expiry is None:
        return None
    return expiry - (time.time() if issued is None else issued)


def _seconds(value: object) -> float | None:
    """Return a number; some issuers write it as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _extensions(text: str) -> dict[str, str]:
    pairs = (each.partition("=") for each in text.split(",") if each.strip())
    found = {name.strip(): value.strip() for name, equals, value in pairs if equals}
    if len(found) != len([each for each in text.split(",") if each.strip()]):
        raise CollectError("invalid", f"{EXTENSIONS} under `client` is not of the form a=b,c=d")
    return found
