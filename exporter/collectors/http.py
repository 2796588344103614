"""HTTP for the brokers that are read by it: bounded in time and size, with errors that say what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from urllib3.exceptions import HTTPError as Urllib3Error

from exporter.collectors.access import SHOWN, Login, Tls, reason_of
from exporter.collectors.watchdog import WATCHDOG, watched
from exporter.model import CollectError, Deadline, Reason

MOST_BYTES = 256 << 20
"""Of one answer, after decompression: more than a broker with a million queues says."""
PIECE = 1 << 16
REDIRECTS = range(300, 400)


class _Adapter(HTTPAdapter):
    """Connections that end at the deadline of their request."""

    def __init__(self) -> None:
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        watched(self.poolmanager)


class _TlsAdapter(_Adapter):
    """The same with the source's certificates, and another server name where that is wanted."""

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        kwargs["ssl_context"] = self._tls.context()
        if self._tls.server_name is not None:
            kwargs["server_hostname"] = kwargs["assert_hostname"] = self._tls.server_name
        super().init_poolmanager(*args, **kwargs)


class StatusError(CollectError):
    """The server answered with another status than 200."""

    def __init__(self, reason: Reason, message: str, status: int) -> None:
        super().__init__(reason, message)
        self.status = status


class _Session(requests.Session):
    """A session, and whether an answer came by it already."""

    used = False


class HttpClient:
    """GETs from one source's servers. Safe to use from many threads; connections are kept from run to run."""

    def __init__(self, source: str, tls: Tls, login: Login) -> None:
        self._key = f"sources[{source}]"
        self._tls = tls
        self._login = login
        self._idle: list[_Session] = []
        """Sessions that nobody uses now; taking from a list and adding to it are atomic."""

    def get_json(
        self, url: str, deadline: Deadline, params: Mapping[str, str] | None = None
    ) -> Any:
        """Return the answer as JSON. Raises `CollectError`, which names the URL without the question."""
        body = self.get(url, deadline, params)
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise CollectError(
                "invalid", f"{url}: the answer is not JSON; is this the right address?"
            ) from None

    def get(self, url: str, deadline: Deadline, params: Mapping[str, str] | None = None) -> bytes:
        """Return the answer's body. Raises `CollectError`, `StatusError` where there was an answer."""
        while True:
            session = self._session(url)
            reused = session.used
            with WATCHDOG.watch(deadline) as watch:
                try:
                    body = _fetch(session, url, deadline, params)
                except Exception as error:
                    session.close()
                    fault = _fault(url, error, cut=watch.is_cut)
                    if fault is None:
                        raise
                else:
                    # A reply that was cut in its headers looks like a whole one without a body.
                    fault = _late(url) if watch.is_cut else None
            if fault is None:
                session.used = True
                self._idle.append(session)
                return body
            session.close()
            if reused and fault.reason == "unreachable" and deadline.remaining() > 0:
                # Closed by the server since nobody used it for a while, or because it was restarted.
                continue
            raise fault

    def _session(self, url: str) -> _Session:
        """Return a session for one request. Secrets and certificates are read when it is made."""
        try:
            session = self._idle.pop()
        except IndexError:
            session = _Session()
            session.trust_env = False  # no proxy and no .netrc of whoever started us
            login = self._login.read(self._key)
            if login is not None:
                session.auth = HTTPBasicAuth(login[0].encode(), login[1].encode())
        if not isinstance(session.get_adapter(url), _Adapter):
            tls = url.startswith("https:")
            session.mount(
                "https://" if tls else "http://", _TlsAdapter(self._tls) if tls else _Adapter()
            )
        return session


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
    """Read the whole body: not for ever, and not whatever there is."""
    pieces = []
    size = 0
    while True:
        # read1: what is there, decompressed, without waiting for a whole piece of an answer that trickles.
        piece = answer.raw.read1(PIECE, decode_content=True)
        if not piece:
            break
        size += len(piece)
        if size > MOST_BYTES:
            raise CollectError("invalid", f"{url}: the answer is larger than {MOST_BYTES >> 20} MB")
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
            f"{url}: refused ({status}){_words(answer, deadline)}; check username and password, and what the user may do",
            status,
        )
    if status in REDIRECTS:
        raise StatusError(
            "invalid",
            f"{url}: sends us elsewhere ({status}), and we don't follow; give the final address",
            status,
        )
    message = f"{url}: answered {status}{_words(answer, deadline)}"
    if status == requests.codes.not_found:
        message += "; is this the right address?"
    failed = status >= requests.codes.internal_server_error
    raise StatusError("unreachable" if failed else "invalid", message, status)


def _words(answer: requests.Response, deadline: Deadline) -> str:
    """Return what the server itself says to an error, as far as a line."""
    if deadline.remaining() <= 0:
        return ""
    try:
        text = answer.raw.read1(4 * SHOWN, decode_content=True).decode("utf-8", "replace")
    except (Urllib3Error, OSError):
        return ""
    if text.lstrip().startswith("<"):
        return ""  # a page of a proxy
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())[:SHOWN]
    return f": {line}" if line else ""


def _late(url: str) -> CollectError:
    return CollectError("timeout", f"{url}: the answer did not end in time")


def _fault(url: str, error: Exception, *, cut: bool) -> CollectError | None:
    """Return the error of a request that failed by itself or was cut; None for any other error, to be raised as it is.

    It never holds more than the address.
    """
    if cut:
        return _late(url)
    if not isinstance(error, requests.RequestException | Urllib3Error | OSError):
        return None
    if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.ReadTimeout):
        return CollectError("timeout", f"{url}: no answer in time")
    if isinstance(error, requests.exceptions.SSLError):
        return CollectError(
            "unreachable", f"{url}: TLS: {reason_of(error)}; check tls.ca_file and tls.server_name"
        )
    if "timed out" in str(error).lower():
        return CollectError("timeout", f"{url}: no answer in time")
    return CollectError(
        "unreachable",
        f"{url}: {reason_of(error)}; check the address and that an HTTP server listens there",
    )
