"""Checks the host and the origin of a request, against DNS rebinding and cross-site requests."""

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_OWN_SITE = ("same-origin", "none")


def host_allowed(host: str, allowed: Collection[str]) -> bool:
    """Return whether a Host header is one of `allowed`.

    An entry without a port allows every port.
    """
    given = host.strip().lower()
    name = _without_port(given)
    wanted = {entry.lower().rstrip(".") for entry in allowed}
    return bool(name) and (name.rstrip(".") in wanted or given in wanted)


def cross_site(headers: Mapping[str, str]) -> bool:
    """Return whether a browser sent the request for a page of another site.

    Browsers say so in Sec-Fetch-Site, older ones in Origin. Other programs send neither.
    """
    if headers.get("sec-fetch-site", "none").strip().lower() not in _OWN_SITE:
        return True
    origin = headers.get("origin")
    return origin is not None and not _same_origin(origin, headers.get("host", ""))


def _same_origin(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin.strip().lower())
    except ValueError:
        return False
    port = _DEFAULT_PORTS.get(parts.scheme)
    if port is None or not parts.netloc:
        return False
    return parts.netloc.removesuffix(port) == host.strip().lower().removesuffix(port)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[: host.find("]") + 1]
    return host.partition(":")[0]
