"""HTTP client for brokers: bounded in time and size, with error messages that say what to do."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import requests
from requests.auth import HTTPBasicAuth
from urllib3.exceptions import HTTPError as Urllib3Error

from exporter.collectors.access import SHOWN, Login, Tls, reason_of
from exporter.collectors.http_sessions import Session, Sessions
from exporter.collectors.http_watchdog import WATCHDOG
from exporter.model import CollectError, Deadline, Reason
from exporter.scrub import shown
from exporter.secret_files import PAUSE

MOST_BYTES = 256 << 20
"""Largest response after decompression; more than a broker with a million queues sends."""
MOST_CONTAINERS, MOST_VALUES = 4_000_000, 32_000_000
"""Limits of one response: objects and lists, and values in them. A few compressed kilobytes can
expand to gigabytes.
"""
PIECE = 1 << 16
REDIRECTS = range(300, 400)
MOST_RENEWALS = 2
"""How often one request is repeated because its secrets were replaced."""


class StatusError(CollectError):
    """The server responded with a status other than 200."""

    def __init__(self, reason: Reason, message: str, status: int) -> None:
        super().__init__(reason, message)
        self.status = status


class HttpClient:
    """GETs from one source's servers. Safe to use from many threads; connections are reused."""

    def __init__(self, source: str, tls: Tls, login: Login) -> None:
        self._key = f"sources[{source}]"
        self._tls = tls
        self._login = login
        self._accepted: tuple[str, str] | None = None
        """User and password that a server accepted last."""
        self._sessions = Sessions(tls)

    def get_json(
        self, url: str, deadline: Deadline, params: Mapping[str, str] | None = None
    ) -> Any:
        """Return the response as JSON.

        Raises `CollectError`, which quotes the URL without its query.
        """
        body = self.get(url, deadline, params)
        if _is_too_much(body):
            raise CollectError(
                "invalid", f"{url}: the response has more values than a broker sends"
            )
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise CollectError(
                "invalid", f"{url}: the response is not JSON; is this the right address?"
            ) from None

    def get(self, url: str, deadline: Deadline, params: Mapping[str, str] | None = None) -> bytes:
        """Return the body of the response.

        Raises `CollectError`; `StatusError` if there was a response.

        The password is read before each request, certificates before each connection. A failed
        request is repeated if the secrets were replaced meanwhile, or if its connection was a
        reused one.
        """
        renewals = 0
        while True:
            session = self._sessions.acquire(url)
            reused = session.used
            try:
                login = self._login.read(self._key)
                body, fault = self._ask(session, url, deadline, params, login)
            except BaseException:
                session.close()
                raise
            if fault is None:
                self._accepted = login
                return body
            if deadline.remaining() <= 0:
                raise fault
            if reused and fault.reason == "unreachable":
                # The server closed the idle connection, or was restarted.
                continue
            if renewals < MOST_RENEWALS and self._is_renewed(session, login, fault):
                renewals += 1
                continue
            raise fault

    def close(self) -> None:
        """Close all connections; those in use are closed when their requests end."""
        self._sessions.close()

    def _ask(
        self,
        session: Session,
        url: str,
        deadline: Deadline,
        params: Mapping[str, str] | None,
        login: tuple[str, str] | None,
    ) -> tuple[bytes, CollectError | None]:
        """Return the body of the response, or the error.

        After an error the connection is closed.
        """
        session.auth = (
            None if login is None else HTTPBasicAuth(login[0].encode(), login[1].encode())
        )
        body = b""
        with WATCHDOG.watch(deadline) as watch:
            try:
                body = _fetch(session, url, deadline, params)
            except CollectError as error:
                fault: CollectError | None = _late(url) if watch.is_cut else error
            except Exception as error:
                fault = _fault(url, error, cut=watch.is_cut)
                if fault is None:
                    raise
            else:
                # A response that was cut in its headers looks like a complete one without a body.
                fault = _late(url) if watch.is_cut else None
        if fault is None:
            session.used = True
            self._sessions.give_back(session)
        else:
            session.close()
            # The frames of its traceback would keep the response until the garbage collector runs.
            fault.with_traceback(None)
        return body, fault

    def _is_renewed(
        self, session: Session, login: tuple[str, str] | None, fault: CollectError
    ) -> bool:
        """Return whether the secrets in the files differ from those that were refused."""
        if fault.reason not in ("unauthorized", "unreachable"):
            return False
        refused = fault.reason == "unauthorized" and login != self._accepted
        if refused and self._login.password_file is not None:
            # The file may have been read while it was being written.
            time.sleep(PAUSE)
        return self._login.read(self._key) != login or self._tls.mark() != session.tls_mark


def _is_too_much(body: bytes) -> bool:
    """Return whether the JSON may have too many values for the memory.

    Characters in strings count, too.
    """
    containers = body.count(b"{") + body.count(b"[")
    return containers > MOST_CONTAINERS or body.count(b",") > MOST_VALUES


def _fetch(
    session: requests.Session, url: str, deadline: Deadline, params: Mapping[str, str] | None
) -> bytes:
    seconds = max(deadline.remaining(), 0.05)
    with session.get(
        url, params=params, timeout=seconds, stream=True, allow_redirects=False
    ) as answer:
        _check_status(url, answer, deadline)
        return _body(url, answer, deadline)


def _body(url: str, answer: requests.Response, deadline: Deadline) -> bytes:
    """Read the whole body, within the limits of time and size."""
    pieces = []
    size = 0
    while True:
        # read1 returns decompressed data as it arrives, without waiting for a full piece of a slow
        # response.
        piece = answer.raw.read1(PIECE, decode_content=True)
        if not piece:
            break
        size += len(piece)
        if size > MOST_BYTES:
            raise CollectError(
                "invalid", f"{url}: the response is larger than {MOST_BYTES >> 20} MB"
            )
        if deadline.remaining() <= 0:
            raise _late(url)
        pieces.append(piece)
    return b"".join(pieces)


def _check_status(url: str, answer: requests.Response, deadline: Deadline) -> None:
    status = answer.status_code
    if status == requests.codes.ok:
        return
    if status in (requests.codes.unauthorized, requests.codes.forbidden):
        raise StatusError(
            "unauthorized",
            f"{url}: access denied ({status}){_words(answer, deadline)}; "
            "check username and password, and the user's permissions",
            status,
        )
    if status in REDIRECTS:
        raise StatusError(
            "invalid",
            f"{url}: redirects ({status}), which is not followed; configure the final URL",
            status,
        )
    message = f"{url}: status {status}{_words(answer, deadline)}"
    if status == requests.codes.not_found:
        message += "; is this the right address?"
    failed = status >= requests.codes.internal_server_error
    raise StatusError("unreachable" if failed else "invalid", message, status)


def _words(answer: requests.Response, deadline: Deadline) -> str:
    """Return the server's own error text, shortened to one line."""
    if deadline.remaining() <= 0:
        return ""
    try:
        text = answer.raw.read1(4 * SHOWN, decode_content=True).decode("utf-8", "replace")
    except (Urllib3Error, OSError):
        return ""
    if text.lstrip().startswith("<"):
        return ""  # the HTML page of a proxy
    # The part that was not read may hold the rest of a secret that the server repeats.
    text = shown(text, 4 * SHOWN)
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())[:SHOWN]
    return f": {line}" if line else ""


def _late(url: str) -> CollectError:
    return CollectError("timeout", f"{url}: the response did not end in time")


def _fault(url: str, error: Exception, *, cut: bool) -> CollectError | None:
    """Return the error of a request that failed or was cut.

    None for any other error, which is raised again.

    The message names nothing but the URL.
    """
    if cut:
        return _late(url)
    if not isinstance(error, requests.RequestException | Urllib3Error | OSError):
        return None
    if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.ReadTimeout):
        return CollectError("timeout", f"{url}: no response in time")
    if isinstance(error, requests.exceptions.SSLError):
        return CollectError(
            "unreachable", f"{url}: TLS: {reason_of(error)}; check tls.ca_file and tls.server_name"
        )
    if "timed out" in str(error).lower():
        return CollectError("timeout", f"{url}: no response in time")
    return CollectError(
        "unreachable",
        f"{url}: {reason_of(error)}; check the address and that an HTTP server listens there",
    )
