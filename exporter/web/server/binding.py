"""Binds the listen address. If that fails, the error says what to do."""

import errno
import re
import socket

_BACKLOG = 128
_LISTEN = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]*)):(?P<port>\d{1,5})")


class ServerError(Exception):
    """The server cannot listen. The text says why and what to do."""


def bind(listen: str) -> socket.socket:
    """Return a socket that listens on `host:port`, `[IPv6]:port` or `:port`.

    Raises `ServerError`.
    """
    parsed = _LISTEN.fullmatch(listen)
    if parsed is None or int(parsed["port"]) > 65535:  # noqa: PLR2004 # the largest port there is
        expected = "host:port, [IPv6]:port or :port"
        raise ServerError(f"listen: {listen!r} is not a valid address; expected {expected}")
    host, port = parsed["v6"] or parsed["host"], int(parsed["port"])
    try:
        if host in ("", "::") and socket.has_dualstack_ipv6():
            every = ("::", port)
            return socket.create_server(
                every, family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True
            )
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = found[0]
        return socket.create_server((str(address[0]), port), family=family, backlog=_BACKLOG)
    except UnicodeError as error:
        raise ServerError(f"listen: {listen}: not a valid host name") from error
    except OSError as error:
        raise ServerError(f"listen: {listen}: {_advice(error)}") from error


def _advice(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "the host name has no address; use an address of this machine, or :port for all"
    match error.errno:
        case errno.EADDRINUSE:
            return "the port is in use by another program; stop that program or choose another port"
        case errno.EACCES | errno.EPERM:
            return "not permitted; choose a port from 1024 up, or grant CAP_NET_BIND_SERVICE"
        case errno.EADDRNOTAVAIL:
            return (
                "the address does not belong to this machine; use an address of this machine, or "
                ":port for all"
            )
    return f"cannot listen on this address: {error.strerror}; choose another address"
