"""Which handler answers a request, and whether one may."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from exporter.server.messages import Request, Response, plain
from exporter.webconfig import Settings

log = structlog.get_logger(__name__)

Handler = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """A path, and who answers there.

    HEAD comes with GET. `public` needs no password and has no rate limit, for health checks.
    """

    path: str
    methods: frozenset[str]
    handler: Handler
    public: bool = False


class Router:
    """Finds the handler of a request; whatever goes wrong in it becomes a response."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = {route.path: route for route in routes}

    def respond(self, request: Request, settings: Settings | None) -> Response:
        """Return the handler's response, or the refusal that is due instead."""
        route = self._routes.get(request.path)
        refusal = _refusal(request, settings, public=route is not None and route.public)
        if refusal is not None:
            return refusal
        if route is None:
            return plain(404, "not found; there are: " + ", ".join(self._routes))
        allowed = route.methods | {"HEAD"} if "GET" in route.methods else route.methods
        if request.method not in allowed:
            allow = ", ".join(sorted(allowed))
            return plain(405, f"method not allowed; allowed: {allow}", ("Allow", allow))
        try:
            return route.handler(request)
        except Exception:
            log.exception("http.handler_failed", path=route.path, method=request.method)
            return plain(500, "internal error; the log has the reason")


def _refusal(request: Request, settings: Settings | None, *, public: bool) -> Response | None:
    if settings is None or public:
        return None
    if not settings.rate.allow():
        return plain(429, "too many requests")
    if not settings.users.allow(request.headers.get("authorization")):
        log.info("http.unauthorized", path=request.path)
        challenge = ("WWW-Authenticate", 'Basic realm="mq-lag-exporter", charset="UTF-8"')
        return plain(401, "unauthorized", challenge)
    return None
