"""The page at `/`: static files. Their data comes from `/api/v1/subscriptions`."""

from __future__ import annotations

from importlib.resources import files

from exporter.web.server import Request, Response, Route

KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The browser runs and fetches only the page's own files, whatever text the page shows."""
HEADERS = (("Cache-Control", "no-cache"), ("Content-Security-Policy", POLICY))
START = "index.html"


def page_routes() -> list[Route]:
    """Return a route for each file of the page, and for `/`."""
    found = sorted(each.name for each in files(__name__).iterdir() if _kind(each.name) in KINDS)
    routes = [_route(f"/{name}", name) for name in found if name != START]
    return [_route("/", START), *routes]


def _route(path: str, name: str) -> Route:
    content = files(__name__).joinpath(name).read_bytes()

    def answer(_: Request) -> Response:
        return Response(200, KINDS[_kind(name)], [content], HEADERS)

    return Route(path, frozenset({"GET"}), answer)


def _kind(name: str) -> str:
    return name.rpartition(".")[2]
