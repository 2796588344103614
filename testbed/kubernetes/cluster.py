"""Starts and stops the whole: API server, controllers, KEDA's operator."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import requests
import trustme

from testbed.children import Child
from testbed.kubernetes.apiserver import ApiServer, External
from testbed.kubernetes.external_metrics import KedaAdapter
from testbed.kubernetes.kinds import BY_NAME, DEPLOYMENTS, HPAS, SCALED_OBJECTS, Kind
from testbed.kubernetes.kubelet import Kubelet
from testbed.kubernetes.store import Object, RefusedError, Store
from testbed.ports import PortBlock
from testbed.tools import ROOT, cached_folder
from testbed.waiting import wait_until

MODULE = ROOT / "scripts" / "kubernetes"
OPERATOR_NAMESPACE = "keda"


def version_of(module: str) -> str:
    """The version of a Go module that is built."""
    text = (MODULE / "go.mod").read_text()
    found = re.search(rf"^\s+{re.escape(module)} v(\S+)", text, re.MULTILINE)
    assert found, f"{MODULE}/go.mod has no version of {module}"
    return found[1]


KUBERNETES, KEDA = version_of("k8s.io/kubernetes"), version_of("github.com/kedacore/keda/v2")


def parts() -> Path:
    """The folder with the programs, built by scripts/install-kubernetes-parts."""
    return cached_folder(f"kubernetes-{KUBERNETES}-keda-{KEDA}")


class Cluster:
    """A control plane; a context manager. Its kubelet runs consumers."""

    def __init__(
        self, folder: Path, metrics: Mapping[str, External], hpa_interval: str = "15s"
    ) -> None:
        """`metrics` answers for external metrics by name. KEDA answers for all others.

        `hpa_interval` is how often the HPA controller decides.
        """
        self._folder = folder
        self._metrics = metrics
        self._hpa_interval = hpa_interval
        self.store = Store()
        self.kubelet = Kubelet(self.store)
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        self._ports = PortBlock()
        self._probes, questions = self._ports.take(), self._ports.take()
        self._write_certificates()
        self._keda = KedaAdapter(questions, self._folder, self._folder)
        self._server = ApiServer(self.store, self._ports.take(), KUBERNETES, self._external)
        self._server.start()
        self.kubelet.start()
        try:
            self._start_programs(questions)
            wait_until(self._is_ready, "KEDA's operator to be ready")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            for child in self._children:
                print(child.log, child.log_tail(), sep="\n")  # noqa: T201 - pytest shows it
        self._stop()

    def apply(self, *manifests: Object) -> None:
        """Create objects."""
        for given in manifests:
            kind = BY_NAME[given["apiVersion"], given["kind"]]
            self.store.create(kind, given["metadata"].get("namespace", ""), given)

    def replicas(self, namespace: str, name: str) -> list[tuple[float, int]]:
        """When the wanted replicas of a Deployment were set or changed, and to what."""
        found: list[tuple[float, int]] = []
        for change in list(self.store.history):
            data = change.object["metadata"]
            if change.kind is DEPLOYMENTS and (data["namespace"], data["name"]) == (
                namespace,
                name,
            ):
                count = change.object["spec"]["replicas"]
                if not found or found[-1][1] != count:
                    found.append((change.at, count))
        return found

    def hpa_conditions(self, namespace: str, name: str) -> dict[str, str]:
        """The conditions of an HPA: `True` or `False` by type; none without an HPA."""
        return self._conditions(HPAS, namespace, name)

    def keda_conditions(self, namespace: str, name: str) -> dict[str, str]:
        """The conditions of a ScaledObject: `True`, `False` or `Unknown` by type."""
        return self._conditions(SCALED_OBJECTS, namespace, name)

    def _conditions(self, kind: Kind, namespace: str, name: str) -> dict[str, str]:
        try:
            status = self.store.get(kind, namespace, name).get("status", {})
        except RefusedError:  # KEDA has not made the HPA yet
            return {}
        return {each["type"]: each["status"] for each in status.get("conditions") or []}

    def _external(self, namespace: str, name: str, selector: str) -> list[str]:
        return self._metrics.get(name, self._keda)(namespace, name, selector)

    def _write_certificates(self) -> None:
        """Write what the operator and its adapter trust each other by."""
        authority = trustme.CA()
        pair = authority.issue_cert("localhost")
        authority.cert_pem.write_to_path(self._folder / "ca.crt")
        pair.private_key_pem.write_to_path(self._folder / "tls.key")
        for blob in pair.cert_chain_pems:
            blob.write_to_path(self._folder / "tls.crt", append=True)

    def _start_programs(self, questions: int) -> None:
        environment = os.environ | {"KUBE_FEATURE_WatchListClient": "false"}
        line = [str(parts() / "controllers"), "-server", self._server.url]
        line += ["-sync", self._hpa_interval]
        self._children.append(Child(line, self._folder / "controllers.log", environment))
        access = self._folder / "kubeconfig"
        access.write_text(json.dumps(_kubeconfig(self._server.url)))
        environment |= {
            "KUBECONFIG": str(access),
            "WATCH_NAMESPACE": "",
            "POD_NAMESPACE": OPERATOR_NAMESPACE,
            "KEDA_CLUSTER_OBJECT_NAMESPACE": OPERATOR_NAMESPACE,
        }
        line = [
            str(parts() / "keda-operator"),
            f"--metrics-bind-address=127.0.0.1:{self._ports.take()}",
            f"--health-probe-bind-address=127.0.0.1:{self._probes}",
            f"--metrics-service-bind-address=127.0.0.1:{questions}",
            f"--cert-dir={self._folder}",
        ]
        self._children.append(Child(line, self._folder / "keda-operator.log", environment))

    def _is_ready(self) -> bool:
        for child in self._children:
            if not child.is_running:
                raise AssertionError(f"{child.log} ended: {child.log_tail()}")
        try:
            answer = requests.get(f"http://127.0.0.1:{self._probes}/readyz", timeout=5)
        except requests.ConnectionError:
            return False
        return bool(answer.status_code == requests.codes.ok)

    def _stop(self) -> None:
        for child in self._children:
            child.kill()
        self.kubelet.stop()
        self._server.stop()
        self._keda.close()
        self._ports.release()


def _kubeconfig(url: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
