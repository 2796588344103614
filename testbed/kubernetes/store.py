"""Objects in memory with versions, a history to watch, and what an API server adds to them."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NamedTuple
from uuid import uuid4

from testbed.kubernetes.kinds import DEPLOYMENTS, HPAS, KINDS, PODS, REPLICA_SETS, Kind

Object = dict[str, Any]
SERVER_FIELDS = ("name", "namespace", "uid", "creationTimestamp", "generation", "resourceVersion")
"""Fields of `metadata` that clients cannot change."""


class RefusedError(Exception):
    """A request is refused, with a code and a reason as clients of Kubernetes expect them."""

    def __init__(self, code: HTTPStatus, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


class Change(NamedTuple):
    """One change of one object."""

    at: float
    """On the clock of `time.monotonic`."""
    kind: Kind
    type: str
    """ADDED, MODIFIED or DELETED."""
    object: Object


class Store:
    """All objects. Thread-safe. The objects that it returns must not be changed."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._objects: dict[Kind, dict[tuple[str, str], Object]] = {kind: {} for kind in KINDS}
        self.history: list[Change] = []
        """All changes. The version of an object is the number of changes up to its last one."""

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        with self._changed:
            found = self._objects[kind].get((namespace, name))
        if found is None:
            message = f'{kind.plural} "{name}" not found'
            raise RefusedError(HTTPStatus.NOT_FOUND, "NotFound", message)
        return found

    def all(self, kind: Kind) -> tuple[int, list[Object]]:
        """The version of the store, and the objects of a kind."""
        with self._changed:
            return len(self.history), list(self._objects[kind].values())

    def wait(self, after: int, timeout: float) -> list[Change]:
        """Wait for changes after a version; empty after `timeout` seconds without one."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.history) > after, timeout)
            return self.history[after:]

    def create(self, kind: Kind, namespace: str, given: Mapping[str, Any]) -> Object:
        made = copy.deepcopy(dict(given))
        made |= {"apiVersion": kind.api_version, "kind": kind.name}
        data = made.setdefault("metadata", {})
        if not data.get("name"):
            data["name"] = data.get("generateName", "") + uuid4().hex[:5]
        if kind.namespaced:
            data["namespace"] = namespace
        data |= {"uid": str(uuid4()), "creationTimestamp": now(), "generation": 1}
        _default(kind, made)
        if kind is PODS:
            made["status"] = {"phase": "Pending"}
        with self._changed:
            if (namespace, data["name"]) in self._objects[kind]:
                message = f'{kind.plural} "{data["name"]}" already exists'
                raise RefusedError(HTTPStatus.CONFLICT, "AlreadyExists", message)
            return self._put("ADDED", kind, made)

    def update(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        given: Mapping[str, Any],
        *,
        status: bool = False,
    ) -> Object:
        """Replace an object, or only its status.

        If `given` has a version, it must be the present one.
        """
        with self._changed:
            old = self.get(kind, namespace, name)
            wanted = given.get("metadata", {}).get("resourceVersion")
            if wanted and wanted != old["metadata"]["resourceVersion"]:
                message = "the object has been modified; apply your changes to the latest version"
                raise RefusedError(HTTPStatus.CONFLICT, "Conflict", message)
            if status:
                new = {**old, "status": copy.deepcopy(given.get("status", {}))}
                new["metadata"] = dict(old["metadata"])
            else:
                new = _replaced(kind, old, given)
            if new == old:
                return old
            made = self._put("MODIFIED", kind, new)
            data = made["metadata"]
            if data.get("deletionTimestamp") and not data.get("finalizers"):
                self._remove(kind, made)
            return made

    def delete(self, kind: Kind, namespace: str, name: str) -> Object:
        """Remove an object and what it owns. With finalizers, it is only marked."""
        with self._changed:
            old = self.get(kind, namespace, name)
            data = old["metadata"]
            if not data.get("finalizers"):
                return self._remove(kind, old)
            if data.get("deletionTimestamp"):
                return old
            marked = data | {"deletionTimestamp": now(), "generation": data["generation"] + 1}
            return self._put("MODIFIED", kind, {**old, "metadata": marked})

    def _put(self, change: str, kind: Kind, made: Object) -> Object:
        data = made["metadata"]
        data["resourceVersion"] = str(len(self.history) + 1)
        key = (data.get("namespace", ""), data["name"])
        if change == "DELETED":
            del self._objects[kind][key]
        else:
            self._objects[kind][key] = made
        self.history.append(Change(time.monotonic(), kind, change, made))
        self._changed.notify_all()
        return made

    def _remove(self, kind: Kind, old: Object) -> Object:
        gone = self._put("DELETED", kind, {**old, "metadata": dict(old["metadata"])})
        for each in KINDS:
            for owned in list(self._objects[each].values()):
                owners = owned["metadata"].get("ownerReferences") or []
                if any(owner.get("uid") == old["metadata"]["uid"] for owner in owners):
                    self.delete(each, owned["metadata"]["namespace"], owned["metadata"]["name"])
        return gone


def now() -> str:
    """The present time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _replaced(kind: Kind, old: Object, given: Mapping[str, Any]) -> Object:
    """Return what the new object is; its version is still the old one."""
    new = copy.deepcopy(dict(given))
    new |= {"apiVersion": kind.api_version, "kind": kind.name}
    fixed = (*SERVER_FIELDS, "deletionTimestamp")
    kept = {field: old["metadata"][field] for field in fixed if field in old["metadata"]}
    new["metadata"] = {**new.get("metadata", {}), **kept}
    new.pop("status", None)
    if "status" in old:
        new["status"] = old["status"]
    _default(kind, new)
    if new.get("spec") != old.get("spec"):
        new["metadata"]["generation"] += 1
    return new


def _default(kind: Kind, made: Object) -> None:
    """Add the defaults that the controllers rely on."""
    spec = made.get("spec", {})
    if kind in (DEPLOYMENTS, REPLICA_SETS):
        spec.setdefault("replicas", 1)
        made.setdefault("status", {})
    if kind is DEPLOYMENTS:
        rolling = {"maxSurge": "25%", "maxUnavailable": "25%"}
        spec.setdefault("strategy", {"type": "RollingUpdate", "rollingUpdate": rolling})
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)
    if kind is HPAS:
        spec.setdefault("minReplicas", 1)
        if spec.get("behavior") is not None:
            _default_behavior(spec["behavior"])


def _default_behavior(behavior: Object) -> None:
    """Add the defaults of `pkg/apis/autoscaling/v2/defaults.go`."""
    double = {"type": "Percent", "value": 100, "periodSeconds": 15}
    four = {"type": "Pods", "value": 4, "periodSeconds": 15}
    for direction, policies in (("scaleUp", [four, double]), ("scaleDown", [double])):
        rules = behavior.setdefault(direction, {})
        rules.setdefault("selectPolicy", "Max")
        rules.setdefault("policies", policies)
    behavior["scaleUp"].setdefault("stabilizationWindowSeconds", 0)
