"""Answers for external metrics: as KEDA's metrics adapter and as prometheus-adapter give them."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import grpc
import requests

from testbed.exporter import Scrape
from testbed.kubernetes.requests import labels_of
from testbed.kubernetes.store import RefusedError

PROTO = Path(__file__).with_name("metrics.proto")
SECONDS = 20.0
SCALED_OBJECT = "scaledobject.keda.sh/name"
"""The label by which the HPA of a ScaledObject asks."""


class KedaAdapter:
    """Asks KEDA's operator, as KEDA's metrics adapter does."""

    def __init__(self, port: int, certificates: Path, folder: Path) -> None:
        """`certificates` is the operator's folder; `folder` is for generated code."""
        line = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO.parent}"]
        line += [f"--python_out={folder}", f"--grpc_python_out={folder}", PROTO.name]
        subprocess.run(line, check=True)
        sys.path.insert(0, str(folder))
        try:
            self._messages: Any = importlib.import_module("metrics_pb2")
            stubs: Any = importlib.import_module("metrics_pb2_grpc")
        finally:
            sys.path.remove(str(folder))
        names = ("ca.crt", "tls.key", "tls.crt")
        files = [(certificates / name).read_bytes() for name in names]
        credentials = grpc.ssl_channel_credentials(*files)
        self._channel = grpc.secure_channel(f"localhost:{port}", credentials)
        self._stub = stubs.MetricsServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def __call__(self, namespace: str, name: str, selector: str) -> list[str]:
        """Return the values. Raises `RefusedError` with the operator's error."""
        scaled_object = labels_of(selector).get(SCALED_OBJECT, "")
        asked = self._messages.ScaledObjectRef(
            name=scaled_object, namespace=namespace, metricName=name
        )
        try:
            found = self._stub.GetMetrics(asked, timeout=SECONDS)
        except grpc.RpcError as error:
            message = f"{error.code()}: {error.details()}"
            code = HTTPStatus.INTERNAL_SERVER_ERROR
            raise RefusedError(code, "InternalError", message) from None
        return [item.value.string for item in found.items]


class PageAdapter:
    """Reads `mq_desired_consumers` from the exporter.

    It applies the rule for prometheus-adapter in docs/scaling.md to the present page, without a
    Prometheus in between.
    """

    METRIC = "mq_desired_consumers"

    def __init__(self, scrape: Callable[[], Scrape]) -> None:
        self._scrape = scrape

    def __call__(self, _: str, name: str, selector: str) -> list[str]:
        """Return the value; nothing if there is no series, or only one of a blind source."""
        try:
            page = self._scrape()
        except requests.RequestException:
            return []
        labels = labels_of(selector)
        blind = {
            tuple(label for label in series if label[0] != "reason")
            for series in page.find("mq_scaling_held", reason="blind", **labels)
        }
        found = page.find(name, **labels)
        values = [value for series, value in found.items() if series not in blind]
        return [f"{max(values):g}"] if values else []
