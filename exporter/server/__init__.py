"""HTTP and HTTPS: handlers that answer with bytes, within bounds that no client can stretch.

One thread a connection, at most `Limits.connections`, over the standard library's
`socketserver` and `http.server`. Not cheroot: its TLS handshakes run in the thread that accepts, so
one silent client stops everybody; a worker of its small pool belongs to whoever dribbles or doesn't
read, since its timeouts start anew with every byte; and its `stop` waits without bound for a worker
that is sending. All three can only be mended in its private parts. Here a connection always has a
deadline for what it is doing, and the accepting loop cuts those that are past it.

Responses go to the socket in pieces of at most `messages.PIECE_BYTES`, as views of the handler's own
bytes: sending 20 MB costs what one `sendall` of them costs, and a client is judged by whether it
takes piece after piece.
"""

from exporter.server.binding import ServerError
from exporter.server.connection import Limits
from exporter.server.messages import Request, Response
from exporter.server.routing import Handler, Route
from exporter.server.serving import Server

__all__ = ["Handler", "Limits", "Request", "Response", "Route", "Server", "ServerError"]
