"""A kubelet whose pods are consumers: processes of `testbed.workers`."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from testbed.background import Background
from testbed.kubernetes.kinds import PODS
from testbed.kubernetes.store import Object, RefusedError, Store, now
from testbed.workers import Pool, Work

RESTART_SECONDS = 10.0
"""How long an ended consumer stays away, as a container that crashes."""
TICK = 0.2


class Containers(Pool):
    """The consumers of one Deployment. Those that end are started again."""

    def __init__(self, work: Work, wanted: Path) -> None:
        super().__init__(work, wanted, 0)
        self._next_look = 0.0

    def _fit(self, count: int) -> None:
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + RESTART_SECONDS
            self._running = [each for each in self._running if each.poll() is None]
        super()._fit(count)


class Kubelet(Background):
    """Marks all pods as ready, and writes the number of pods of a Deployment to its file."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.files: dict[str, Path] = {}
        """What `Containers` reads, by the pods' label `app`."""
        self._store = store
        self._written: dict[str, int] = {}

    def _run(self) -> None:
        version = 0
        while not self._stopping.is_set():
            changes = self._store.wait(version, TICK)
            version += len(changes)
            if any(change.kind is PODS for change in changes):
                self._look()

    def _look(self) -> None:
        _, pods = self._store.all(PODS)
        for pod in pods:
            if pod["status"]["phase"] == "Pending":
                self._run_pod(pod)
        for app, file in self.files.items():
            count = sum(pod["metadata"]["labels"].get("app") == app for pod in pods)
            if count != self._written.get(app):
                fresh = file.with_suffix(".new")
                fresh.write_text(str(count))
                fresh.rename(file)
                self._written[app] = count

    def _run_pod(self, pod: Object) -> None:
        types = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        ready = [{"type": each, "status": "True", "lastTransitionTime": now()} for each in types]
        status = {"phase": "Running", "startTime": now(), "conditions": ready}
        data = pod["metadata"]
        with suppress(RefusedError):  # it has been deleted
            self._store.update(
                PODS, data["namespace"], data["name"], {"status": status}, status=True
            )
