"""Reads the subscriptions of a running exporter over HTTP."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit, urlunsplit

from exporter.scrub import learn_login, learn_url, scrub
from exporter.secret_files import SecretFileError, read_secret

PATH = "/api/v1/subscriptions"
TIMEOUT = 10.0
"""Seconds for a whole answer."""
MOST_BYTES = 64 << 20
PIECE = 1 << 16
POLL_SECONDS = 0.05
"""How soon a request notices that the controller has to end."""
HINTS = {
    401: "; wrong or missing password: see --user and --password-file",
    404: "; is this the address of an mq-lag-exporter?",
    421: "; the Host header is not in the exporter's allowed_hosts",
}


class UnreachableError(Exception):
    """The exporter gave no usable answer. The text says why, without secrets."""


class AddressError(ValueError):
    """The address or an option for it is invalid. The text says why."""


@dataclass(frozen=True, slots=True)
class ExporterAddress:
    """Where the exporter is, and how to log in."""

    url: str
    """Without user, password, and slash at its end."""
    user: str | None = None
    password: str | None = None
    password_file: Path | None = None
    """Read before each request, so that a changed password is used."""
    ca_file: Path | None = None
    """Certificates to trust instead of those of the system."""

    def login(self) -> str | None:
        """Return the Authorization header, or None. Raises `SecretFileError`."""
        password = self.password
        if self.password_file is not None:
            password = read_secret("--password-file", self.password_file)
        if self.user is None or password is None:
            return None
        learn_login(self.user, password)
        pair = f"{self.user}:{password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    def context(self) -> ssl.SSLContext | None:
        """Return the TLS context; None without TLS. Raises `OSError`."""
        if not self.url.startswith("https:"):
            return None
        return ssl.create_default_context(cafile=self.ca_file)


def address_of(
    url: str,
    user: str | None = None,
    password_file: Path | None = None,
    ca_file: Path | None = None,
) -> ExporterAddress:
    """Return the address of an exporter. Raises `AddressError`.

    A URL without a scheme is http. A user and password in the URL are used as the login.
    """
    learn_url(url)
    whole = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(whole)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise AddressError(scrub(f"--url: {error}")) from None
    if parts.scheme not in ("http", "https") or not host:
        raise AddressError("--url: expected an address such as http://127.0.0.1:9877")
    if ca_file is not None and parts.scheme != "https":
        raise AddressError("--ca-file needs an address with https://")
    if parts.username is not None and (user is not None or password_file is not None):
        raise AddressError("the login is given twice: in --url, and with --user")
    if (user is None) != (password_file is None):
        raise AddressError("--user and --password-file need each other")
    plain = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    address = ExporterAddress(plain.rstrip("/"), user, None, password_file, ca_file)
    if parts.username is not None:
        login = (unquote(parts.username), unquote(parts.password or ""))
        address = replace(address, user=login[0], password=login[1])
    try:
        address.login()
        address.context()
    except SecretFileError as error:
        raise AddressError(str(error)) from None
    except OSError as error:
        raise AddressError(f"--ca-file: {ca_file}: cannot be used: {error}") from None
    return address


class Client:
    """GETs the subscriptions. Each call ends in time, and at once when `stop` is set."""

    def __init__(
        self, address: ExporterAddress, stop: threading.Event, timeout: float = TIMEOUT
    ) -> None:
        self._address = address
        self._stop = stop
        self._timeout = timeout
        self._running: _Request | None = None

    def overview(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the answer to a query; its lists have only objects.

        Raises `UnreachableError`.
        """
        if self._running is not None and self._running.thread.is_alive():
            raise UnreachableError("the previous request still hangs")
        self._running = request = _Request(self._address, query, self._timeout)
        until = time.monotonic() + self._timeout
        while not request.done.wait(POLL_SECONDS):
            if self._stop.is_set():
                raise UnreachableError("the controller ends")
            if time.monotonic() >= until:
                raise UnreachableError(f"no whole answer within {self._timeout:g} s")
        if request.error is not None:
            raise UnreachableError(request.error)
        return _checked(request.body)


class _Request:
    """One request in a thread, because nothing can interrupt it in the main thread."""

    def __init__(self, address: ExporterAddress, query: Mapping[str, str], timeout: float) -> None:
        self.body = b""
        self.error: str | None = None
        self.done = threading.Event()
        self._address, self._query, self._timeout = address, query, timeout
        self.thread = threading.Thread(target=self._run, name="request", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.body = self._get()
        except urllib.error.HTTPError as error:
            error.close()
            self.error = f"HTTP status {error.code} {error.reason}{HINTS.get(error.code, '')}"
        except (OSError, ValueError, HTTPException, SecretFileError) as error:
            reason = getattr(error, "reason", None) or error
            self.error = scrub(str(reason) or type(reason).__name__)
        finally:
            self.done.set()

    def _get(self) -> bytes:
        until = time.monotonic() + self._timeout
        address = self._address
        request = urllib.request.Request(f"{address.url}{PATH}?{urlencode(self._query)}")  # noqa: S310 - http(s) only
        login = address.login()
        if login is not None:
            # Not sent to another host after a redirect.
            request.add_unredirected_header("Authorization", login)
        # Without the proxies of the environment, which would get the password.
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        context = address.context()
        if context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        body = bytearray()
        with urllib.request.build_opener(*handlers).open(request, timeout=self._timeout) as answer:
            while piece := answer.read1(PIECE):
                body += piece
                if len(body) > MOST_BYTES:
                    raise ValueError("the answer is too large")
                if time.monotonic() >= until:
                    raise TimeoutError("the answer came too slowly")
        return bytes(body)


def _checked(body: bytes) -> dict[str, Any]:
    """Return the answer as JSON with the lists that it must have. Raises `UnreachableError`."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    lists = [found.get(key) for key in ("sources", "subscriptions")] if _is_object(found) else []
    if not lists or not all(
        isinstance(each, list) and all(map(_is_object, each)) for each in lists
    ):
        raise UnreachableError("the answer is not that of an mq-lag-exporter")
    whole: dict[str, Any] = found
    return whole


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)
