"""HTTP and HTTPS server. Handlers return bytes; no client can exceed the limits.

Connections use tornado: its parser rejects ambiguous requests, its streams send bytes without
copying them, and an idle connection costs a descriptor and some kilobytes. One thread runs the
event loop, which never waits. A handler that is a plain function runs in a lane: a few threads with
a bounded queue. Passwords are checked in a lane, too. A handler that is a coroutine function runs
on the loop. Health checks do, so they are answered even if the lanes are busy.

This package adds what tornado lacks: separate deadlines for a request, for each piece of a response
and for the whole response (`connection`), the choice of the connection to cut when there are too
many (`listener`), rejections with the right status, and a response for a client that has closed its
sending side (`stream`).
"""

from exporter.web.server.binding import ServerError
from exporter.web.server.limits import Limits
from exporter.web.server.messages import Request, Response
from exporter.web.server.routing import Handler, Route
from exporter.web.server.serving import Server

__all__ = ["Handler", "Limits", "Request", "Response", "Route", "Server", "ServerError"]
