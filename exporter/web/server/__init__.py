"""HTTP and HTTPS: handlers that answer with bytes, within bounds that no client can stretch.

Connections are tornado's: its parser refuses what can be read in two ways, its streams send bytes
without copying them, and an idle connection costs a descriptor and some kilobytes. One thread runs
the event loop. The loop never waits: a handler that is a plain function runs in a lane, a few
threads with a bounded queue, and so does the checking of passwords. A handler that is a coroutine
function runs on the loop; health checks are, so they are answered whatever the lanes do.

What tornado lacks is here: separate deadlines for a request, for each piece of a response and for
all of it (`connection`), the choice of who goes when there are too many (`listener`), refusals with
the status that fits, and an answer for a client that has closed its sending side (`stream`).
"""

from exporter.web.server.binding import ServerError
from exporter.web.server.limits import Limits
from exporter.web.server.messages import Request, Response
from exporter.web.server.routing import Handler, Route
from exporter.web.server.serving import Server

__all__ = ["Handler", "Limits", "Request", "Response", "Route", "Server", "ServerError"]
