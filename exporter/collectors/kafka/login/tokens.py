"""The OAUTHBEARER token of one source.

It is fetched once for all clients, renewed before it expires, and kept during an outage of the
issuer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field

import structlog

from exporter.model import CollectError
from exporter.scrub import learn

RENEW_AT = 0.75
"""Fraction of a token's lifetime after which a new one is fetched.

librdkafka asks at 0.8, and must get the new one.
"""
MARGIN = 2.0
MARGIN_RATIO = 0.05
"""A token counts as expired this early; the smaller value applies.

`MARGIN` is in seconds, `MARGIN_RATIO` a fraction of the lifetime.
"""
PAUSE = 5.0
PAUSE_RATIO = 0.05
"""Pause between attempts after a failure; the smaller value applies.

`PAUSE` is in seconds, `PAUSE_RATIO` a fraction of the token's lifetime.
"""
PATIENCE = 5.0
"""Seconds that a caller waits for a token."""
GIVEN_UP = 30.0
"""Seconds after which an attempt that hangs is ignored and another one is started."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token as returned by its issuer."""

    value: str = field(repr=False)
    lifetime: float
    """Seconds from when it was issued."""
    principal: str = ""
    extensions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Issued:
    token: Token
    since: float

    def left(self, now: float) -> float:
        """Return the seconds until it expires."""
        return self.since + self.token.lifetime - now

    def is_valid(self, now: float) -> bool:
        return self.left(now) > min(MARGIN, self.token.lifetime * MARGIN_RATIO)

    def is_due(self, now: float) -> bool:
        return now >= self.since + self.token.lifetime * RENEW_AT

    def pause(self) -> float:
        return min(PAUSE, self.token.lifetime * PAUSE_RATIO)


class Tokens:
    """Keeps a valid token. Thread-safe; an instance is librdkafka's `oauth_cb`.

    `fetch` runs in a separate thread, one at a time. It raises `CollectError` without a secret in
    its text.
    """

    def __init__(
        self,
        source: str,
        fetch: Callable[[], Token],
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._issued: _Issued | None = None
        self._is_refused = False
        self._current_attempt: Future[_Issued] | None = None
        self._attempt_began = 0.0
        self._failure: CollectError | None = None
        """Why the last attempt failed; None after a success."""
        self._failed_at = 0.0
        self._log = structlog.get_logger(__name__).bind(source=source)

    def __call__(self, _config: str) -> tuple[str, float, str, dict[str, str]]:
        """Return token, expiry as Unix time, principal and extensions. Raises `CollectError`."""
        issued = self._current(fresh=True)
        now, token = self._clock(), issued.token
        left = issued.left(now)
        if issued.is_due(now):
            # The renewal failed. librdkafka asks again after 0.8 of the time, and that has to be
            # soon.
            left = min(left, issued.pause() / 0.8)
        return token.value, self._wall_clock() + left, token.principal, dict(token.extensions)

    def get(self) -> Token:
        """Return a valid token. Raises `CollectError` if there is none.

        A token that is due for renewal but valid is returned at once.
        """
        return self._current(fresh=False).token

    def _current(self, *, fresh: bool) -> _Issued:
        """Return a valid token; with `fresh`, wait for a renewal that is due."""
        with self._lock:
            now = self._clock()
            issued = self._issued
            valid = issued if issued is not None and issued.is_valid(now) else None
            due = issued is None or self._is_refused or issued.is_due(now)
            attempt = self._attempt_if_due(now) if due or valid is None else None
        if attempt is None or (valid is not None and not fresh):
            if valid is None:
                raise self._missing_token()
            return valid
        try:
            return attempt.result(PATIENCE)
        except FutureTimeoutError:
            fault = CollectError("timeout", "the token issuer does not respond in time")
        except CollectError as error:
            fault = error
        if valid is None:
            raise fault
        return valid

    def refused(self) -> None:
        """Note that a broker refused the token: the next caller gets a new one, if possible."""
        with self._lock:
            self._is_refused = True

    def fault(self) -> CollectError | None:
        """Return why there is no valid token.

        None if there is one, or if none was requested yet.
        """
        with self._lock:
            issued = self._issued
            if issued is not None and issued.is_valid(self._clock()):
                return None
            failure = self._failure
        # A copy: raising the same error object repeatedly would keep all frames alive.
        return None if failure is None else CollectError(failure.reason, str(failure))

    def _missing_token(self) -> CollectError:
        return self.fault() or CollectError("timeout", "there is no token yet")

    def _attempt_if_due(self, now: float) -> Future[_Issued] | None:
        """Return the current attempt or a new one; None during the pause after a failure."""
        if self._current_attempt is not None and now - self._attempt_began < GIVEN_UP:
            return self._current_attempt
        pause = PAUSE if self._issued is None else self._issued.pause()
        if self._failure is not None and 0 <= now - self._failed_at < pause:
            return None
        attempt: Future[_Issued] = Future()
        self._current_attempt, self._attempt_began = attempt, now
        threading.Thread(
            target=self._run_attempt, args=(attempt, now), name="token", daemon=True
        ).start()
        return attempt

    def _run_attempt(self, attempt: Future[_Issued], began: float) -> None:
        try:
            token = self._fetch()
            learn(token.value)
        except CollectError as error:
            self._fail(attempt, error)
        except Exception as error:  # noqa: BLE001 - a library may raise anything; its text may contain a secret
            self._fail(attempt, CollectError("internal", f"no token: {type(error).__name__}"))
        else:
            issued = _Issued(token, began)
            with self._lock:
                self._issued = issued
                self._is_refused = False
                failure, self._failure = self._failure, None
                self._finish_attempt(attempt)
            if failure is not None:
                self._log.info("token.renewed", lifetime_seconds=round(token.lifetime))
            attempt.set_result(issued)

    def _fail(self, attempt: Future[_Issued], error: CollectError) -> None:
        with self._lock:
            now = self._clock()
            is_first = self._failure is None
            self._failure, self._failed_at = error, now
            left = 0.0 if self._issued is None else max(self._issued.left(now), 0.0)
            self._finish_attempt(attempt)
        if is_first:
            self._log.warning(
                "token.not_renewed",
                reason=error.reason,
                error=str(error),
                valid_seconds=round(left),
            )
        attempt.set_exception(error)

    def _finish_attempt(self, attempt: Future[_Issued]) -> None:
        if self._current_attempt is attempt:
            self._current_attempt = None
