"""An API server in memory: what the controllers and KEDA's operator use of kube-apiserver.

Plain HTTP and JSON, no validation, no authorization.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from testbed.kubernetes.kinds import EXTERNAL_METRICS, KINDS, Kind, resources
from testbed.kubernetes.requests import Place, is_selected, merged, place_of
from testbed.kubernetes.store import Object, RefusedError, Store, now

External = Callable[[str, str, str], list[str]]
"""Returns the values of an external metric, by namespace, name and label selector.

Raises `RefusedError` if there is none.
"""
BOOKMARK_SECONDS = 1.0
WATCH_SECONDS = 300.0
STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"


class ApiServer:
    """Serves a store on a port of 127.0.0.1."""

    def __init__(self, store: Store, port: int, version: str, external: External) -> None:
        """`version` is the version of Kubernetes that it claims, such as 1.37.2."""
        self.url = f"http://127.0.0.1:{port}"
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.store, self._server.external = store, external
        self._server.version = version
        self._thread = Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop. Connections end with their clients."""
        self._server.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    store: Store
    external: External
    version: str

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.stopping = Event()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *_: Any) -> None:  # noqa: A002 - the name of the base class
        """Log nothing: there are hundreds of requests a minute."""

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client was killed
            super().handle()

    def _answer(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        try:
            self._route(url.path.rstrip("/"), query, body)
        except RefusedError as error:
            refused = {
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Failure",
                "message": str(error),
                "reason": error.reason,
                "code": int(error.code),
            }
            self._send(refused, error.code)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815

    def _route(self, path: str, query: Mapping[str, str], body: bytes) -> None:
        found = _discovery(path, self.server.version)
        if found is not None:
            self._send(found)
            return
        place = place_of(path)
        if place.kind is EXTERNAL_METRICS:
            self._send(self._external(place, query))
        elif self.command == "GET" and not place.name:
            if query.get("watch") in ("1", "true"):
                self._watch(place, query)
            else:
                self._send(self._listed(place, query))
        elif self.command == "POST":
            made = self.server.store.create(place.kind, place.namespace, _parsed(body))
            self._send(made, HTTPStatus.CREATED)
        else:
            self._send(self._changed(place, body))

    def _changed(self, place: Place, body: bytes) -> Object:
        """Return the object, after a change unless it is a GET."""
        store, kind = self.server.store, place.kind
        old = store.get(*place[:3])
        if self.command == "DELETE":
            return store.delete(*place[:3])
        if self.command == "GET":
            return _scale(old) if place.part == "scale" else old
        given = _parsed(body)
        if place.part == "scale":
            wanted = given.get("spec", {}).get("replicas", 0)
            version = given["metadata"].get("resourceVersion", "")
            data = {**old["metadata"], "resourceVersion": version}
            given = {**old, "metadata": data, "spec": {**old["spec"], "replicas": wanted}}
            return _scale(store.update(*place[:3], given))
        if self.command == "PATCH":
            given = self._patched(kind, old, given)
        return store.update(*place[:3], given, status=place.part == "status")

    def _patched(self, kind: Kind, old: Object, patch: Object) -> Object:
        content_type = self.headers.get("Content-Type", "").partition(";")[0]
        if content_type not in (MERGE, STRATEGIC):
            message = f"this API server does not know {content_type} ({kind.plural})"
            code = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
            raise RefusedError(code, "UnsupportedMediaType", message)
        new: Object = merged(old, patch, strategic=content_type == STRATEGIC)
        if "resourceVersion" not in patch.get("metadata", {}):
            data = {k: v for k, v in new["metadata"].items() if k != "resourceVersion"}
            new["metadata"] = data
        return new

    def _listed(self, place: Place, query: Mapping[str, str]) -> Object:
        version, objects = self.server.store.all(place.kind)
        return {
            "kind": f"{place.kind.name}List",
            "apiVersion": place.kind.api_version,
            "metadata": {"resourceVersion": str(version)},
            "items": [each for each in objects if _is_in(place, each, query)],
        }

    def _watch(self, place: Place, query: Mapping[str, str]) -> None:
        if query.get("sendInitialEvents") == "true":
            message = "sendInitialEvents is not known"
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", message)
        store = self.server.store
        version, objects = store.all(place.kind)
        since = int(query.get("resourceVersion") or 0)
        events = [] if since else [("ADDED", each) for each in objects]
        version = since or version
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        ends = time.monotonic() + min(float(query.get("timeoutSeconds", "inf")), WATCH_SECONDS)
        while time.monotonic() < ends and not self.server.stopping.is_set():
            for kind, found in events:
                if _is_in(place, found, query):
                    self._send_chunk({"type": kind, "object": found})
            changes = store.wait(version, BOOKMARK_SECONDS)
            version += len(changes)
            events = [(each.type, each.object) for each in changes if each.kind is place.kind]
            if not changes and query.get("allowWatchBookmarks") == "true":
                self._send_chunk({"type": "BOOKMARK", "object": _bookmark(place.kind, version)})
        self.wfile.write(b"0\r\n\r\n")

    def _external(self, place: Place, query: Mapping[str, str]) -> Object:
        selector = query.get("labelSelector", "")
        values = self.server.external(place.namespace, place.name, selector)
        shared = {"metricName": place.name, "metricLabels": {}, "timestamp": now()}
        return {
            "kind": EXTERNAL_METRICS.name,
            "apiVersion": EXTERNAL_METRICS.api_version,
            "metadata": {},
            "items": [shared | {"value": value} for value in values],
        }

    def _send(self, answer: Mapping[str, Any], code: HTTPStatus = HTTPStatus.OK) -> None:
        body = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_chunk(self, answer: Mapping[str, Any]) -> None:
        line = json.dumps(answer).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.flush()


def _parsed(body: bytes) -> Object:
    try:
        found: Object = json.loads(body)
    except ValueError:
        code = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        raise RefusedError(code, "UnsupportedMediaType", "the body is not JSON") from None
    return found


def _is_in(place: Place, found: Object, query: Mapping[str, str]) -> bool:
    data = found["metadata"]
    in_namespace = not place.namespace or data.get("namespace") == place.namespace
    return in_namespace and is_selected(found, query)


def _bookmark(kind: Kind, version: int) -> Object:
    return {
        "kind": kind.name,
        "apiVersion": kind.api_version,
        "metadata": {"resourceVersion": str(version)},
    }


def _scale(found: Object) -> Object:
    """Return the subresource `scale`."""
    labels = found["spec"].get("selector", {}).get("matchLabels", {})
    fields = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: found["metadata"][field] for field in fields},
        "spec": {"replicas": found["spec"]["replicas"]},
        "status": {
            "replicas": found.get("status", {}).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }


def _discovery(path: str, version: str) -> Object | None:
    """Return what the server says about itself; None for other paths."""
    kinds = (*KINDS, EXTERNAL_METRICS)
    groups = {kind.group: kind.version for kind in kinds if kind.group}
    if path == "/version":
        major, minor, _ = version.split(".")
        return {"major": major, "minor": minor, "gitVersion": f"v{version}"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if path == "/apis":
        listed = [_group(*item) for item in groups.items()]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
    of_group = {f"/apis/{group}/{version}": group for group, version in groups.items()}
    of_group["/api/v1"] = ""
    if path in of_group:
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": path.removeprefix("/apis/").removeprefix("/api/"),
            "resources": resources(of_group[path]),
        }
    name = path.removeprefix("/apis/")
    if name in groups:
        return {"kind": "APIGroup", "apiVersion": "v1"} | _group(name, groups[name])
    return None


def _group(name: str, version: str) -> Object:
    shown = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [shown], "preferredVersion": shown}
