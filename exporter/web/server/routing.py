"""Finds the handler of a request, and checks whether the client may call it."""

import inspect
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import cast

import structlog

from exporter.web.server.lanes import BusyError, Lane
from exporter.web.server.messages import Request, Response, plain
from exporter.web.server.origins import cross_site, host_allowed
from exporter.web.server.sparing import SparingLog
from exporter.web.webconfig import WebSettings

log = structlog.get_logger(__name__)

Handler = Callable[[Request], Response] | Callable[[Request], Awaitable[Response]]
Hosts = Callable[[], Collection[str]]

LANE_THREADS = 2
LANE_WAITING = 128
LANE_OF_ONE = 96
HASHES_WAITING = 64
HASHES_OF_ONE = 16
"""Largest number of queued password checks of one client. Others still get places in the queue."""
_READS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Route:
    """A path and its handler.

    GET includes HEAD. A handler that is a coroutine function runs on the event loop and must not
    wait; any other runs in a thread of `lane`. Lanes run in parallel. A `public` route needs no
    password, has no rate limit and takes any Host, for health checks.
    """

    path: str
    methods: frozenset[str]
    handler: Handler
    public: bool = False
    lane: str = "work"


class Router:
    """Calls the handler of a request; any error becomes a response."""

    def __init__(self, routes: Sequence[Route], hosts: Hosts = tuple) -> None:
        """`hosts` returns the allowed values of Host; empty allows any."""
        self._routes = {route.path: route for route in routes}
        self._hosts = hosts
        self._lanes = {
            route.lane: Lane(route.lane, LANE_THREADS, LANE_WAITING, LANE_OF_ONE)
            for route in routes
        }
        # One hash at a time, so that guessing passwords occupies one core only.
        self._hashing = Lane("passwords", 1, HASHES_WAITING, HASHES_OF_ONE)
        self._sparing = SparingLog()

    def is_public(self, path: str) -> bool:
        """Return whether the path is a health check."""
        route = self._routes.get(path)
        return route is not None and route.public

    async def respond(
        self, request: Request, settings: WebSettings | None, client: str
    ) -> Response:
        """Return the handler's response, or the rejection."""
        route = self._routes.get(request.path)
        try:
            if route is None or not route.public:
                refusal = await self._refusal(request, settings, client)
                if refusal is not None:
                    return refusal
            if route is None:
                return plain(404, "not found; available paths: " + ", ".join(self._routes))
            allowed = route.methods | {"HEAD"} if "GET" in route.methods else route.methods
            if request.method not in allowed:
                allow = ", ".join(sorted(allowed))
                return plain(405, f"method not allowed; allowed: {allow}", ("Allow", allow))
            if request.method not in _READS and cross_site(request.headers):
                self._sparing.info("http.cross_site_refused", path=route.path, client=client)
                return plain(403, "requests from pages of other sites are not allowed")
            return await self._handle(route, request, client)
        except BusyError:
            self._sparing.info("http.busy", path=request.path, client=client)
            return plain(503, "too many requests at once; try again", ("Retry-After", "1"))

    def stop(self) -> None:
        """Let the threads end."""
        for lane in (*self._lanes.values(), self._hashing):
            lane.stop()

    async def _handle(self, route: Route, request: Request, client: str) -> Response:
        try:
            if inspect.iscoroutinefunction(route.handler):
                return cast("Response", await route.handler(request))
            lane = self._lanes[route.lane]
            return cast("Response", await lane.run(client, route.handler, request))
        except BusyError:
            raise
        except Exception:
            log.exception("http.handler_failed", path=route.path, method=request.method)
            return plain(500, "internal error; see the log of the exporter")

    async def _refusal(
        self, request: Request, settings: WebSettings | None, client: str
    ) -> Response | None:
        hosts = self._hosts()
        if hosts and not host_allowed(request.headers.get("host", ""), hosts):
            self._sparing.info("http.host_refused", client=client)
            return plain(421, "the Host header is not in allowed_hosts")
        if settings is None:
            return None
        if not settings.rate.allow():
            return plain(429, "too many requests")
        authorization = request.headers.get("authorization")
        allowed = settings.users.known(authorization)
        if allowed is None:
            allowed = await self._hashing.run(client, settings.users.allow, authorization)
        if not allowed:
            self._sparing.info("http.unauthorized", path=request.path, client=client)
            challenge = ("WWW-Authenticate", 'Basic realm="mq-lag-exporter", charset="UTF-8"')
            return plain(401, "unauthorized", challenge)
        return None
