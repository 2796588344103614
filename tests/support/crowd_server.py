"""A server in a separate process: `python -m tests.support.crowd_server PORT [web config]`."""

from __future__ import annotations

import resource
import sys
import threading
import time
from pathlib import Path

from exporter.web import webconfig
from exporter.web.server import Request, Response, Route, Server

GET = frozenset({"GET"})
PAGE = tuple(bytes([65 + number]) * 50_000 for number in range(26))
WORK_SECONDS = 0.1
DESCRIPTORS = 16_000


def resident_bytes() -> int:
    """Return the memory of the process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def work(_: Request) -> Response:
    """Keep the interpreter busy, like a long API response does."""
    end = time.thread_time() + WORK_SECONDS
    while time.thread_time() < end:
        sum(range(1000))
    return Response(200, "text/plain", (b"worked",))


async def healthy(_: Request) -> Response:
    """Answer immediately."""
    return Response(200, "text/plain", (b"healthy",))


async def metrics(_: Request) -> Response:
    """Return 1.3 MB."""
    return Response(200, "text/plain", PAGE)


async def memory(_: Request) -> Response:
    """Return the memory of the process."""
    return Response(200, "text/plain", (str(resident_bytes()).encode(),))


def main() -> None:
    """Serve until the process is terminated."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, hard), hard))
    web = webconfig.load(sys.argv[2]) if len(sys.argv) > 2 else None
    routes = (
        Route("/metrics", GET, metrics),
        Route("/api", GET, work),
        Route("/memory", GET, memory, public=True),
        Route("/-/healthy", GET, healthy, public=True),
    )
    Server(f"127.0.0.1:{sys.argv[1]}", routes, web).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
