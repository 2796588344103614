"""A client of the external scaler, made from `externalscaler.proto` by gRPC's own compiler."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import grpc

PROTO = Path(__file__).with_name("externalscaler.proto")
SECONDS = 20.0
"""Deadline of a call. Without one, a server that hangs would hang the test."""


class Made(NamedTuple):
    """The modules that gRPC's compiler made."""

    messages: Any
    stubs: Any


def compile_proto(folder: Path) -> Made:
    """Compile the interface into `folder` and import the result."""
    arguments = [f"-I{PROTO.parent}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments, PROTO.name], check=True)
    sys.path.insert(0, str(folder))
    try:
        return Made(
            *map(importlib.import_module, ("externalscaler_pb2", "externalscaler_pb2_grpc"))
        )
    finally:
        sys.path.remove(str(folder))


class Client:
    """Calls the server as KEDA does, over one connection."""

    def __init__(
        self,
        made: Made,
        port: int,
        credentials: grpc.ChannelCredentials | None = None,
        name: str = "127.0.0.1",
    ) -> None:
        address = f"{name}:{port}"
        # Channels with the same options would share a connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        if credentials is None:
            self.channel = grpc.insecure_channel(address, options)
        else:
            self.channel = grpc.secure_channel(address, credentials, options)
        self._made = made
        self._stub = made.stubs.ExternalScalerStub(self.channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def reference(self, metadata: Mapping[str, str]) -> Any:
        return self._made.messages.ScaledObjectRef(
            name="workers", namespace="shop", scalerMetadata=metadata
        )

    def is_active(self, **metadata: str) -> bool:
        found = self._stub.IsActive(self.reference(metadata), timeout=SECONDS)
        return bool(found.result)

    def specs(self, **metadata: str) -> list[tuple[str, int, float]]:
        found = self._stub.GetMetricSpec(self.reference(metadata), timeout=SECONDS)
        return [(s.metricName, s.targetSize, s.targetSizeFloat) for s in found.metricSpecs]

    def metrics(self, **metadata: str) -> list[tuple[str, int, float]]:
        request = self._made.messages.GetMetricsRequest(
            scaledObjectRef=self.reference(metadata), metricName="desired_consumers"
        )
        found = self._stub.GetMetrics(request, timeout=SECONDS)
        return [(v.metricName, v.metricValue, v.metricValueFloat) for v in found.metricValues]

    def stream(self, **metadata: str) -> Stream:
        return Stream(self._stub.StreamIsActive(self.reference(metadata), timeout=10 * SECONDS))

    def spec_stream(self, **metadata: str) -> list[Any]:
        return list(self._stub.StreamMetricSpec(self.reference(metadata), timeout=SECONDS))

    def raw(self, method: str, request: bytes) -> bytes:
        call = self.channel.unary_unary(f"/externalscaler.ExternalScaler/{method}")
        answer: bytes = call(request, timeout=SECONDS)
        return answer


class Stream:
    """An open StreamIsActive."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __iter__(self) -> Iterator[bool]:
        return (bool(message.result) for message in self._call)

    def next(self) -> bool:
        """Wait for the next message."""
        return bool(next(self._call).result)

    def end(self) -> tuple[str, str]:
        """Wait for the end; return the code and the text."""
        return self._call.code().name, self._call.details()

    def cancel(self) -> None:
        self._call.cancel()
