"""The messages of KEDA's `externalscaler.proto`, as of KEDA 2.21.

They are described here and made at run time. Generated code would refuse to run with another major
version of protobuf.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

PACKAGE = "externalscaler"
SERVICE = f"{PACKAGE}.ExternalScaler"

_SCALARS = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
}
_MESSAGES = {
    "ScaledObjectRef": (
        "string name",
        "string namespace",
        "map<string, string> scalerMetadata",
    ),
    "IsActiveResponse": ("bool result",),
    "GetMetricSpecResponse": ("repeated MetricSpec metricSpecs",),
    "MetricSpec": ("string metricName", "int64 targetSize", "double targetSizeFloat"),
    "GetMetricsRequest": ("ScaledObjectRef scaledObjectRef", "string metricName"),
    "GetMetricsResponse": ("repeated MetricValue metricValues",),
    "MetricValue": ("string metricName", "int64 metricValue", "double metricValueFloat"),
}
"""Each message's fields. Their numbers count from 1."""


def _file() -> FileDescriptorProto:
    file = FileDescriptorProto(name="externalscaler.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, text in enumerate(fields, 1):
            _add_field(message, number, text)
    return file


def _add_field(message: DescriptorProto, number: int, text: str) -> None:
    kind, name = text.rsplit(" ", 1)
    field = message.field.add(name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
    if kind == "map<string, string>":
        entry = f"{name[:1].upper()}{name[1:]}Entry"
        pair = message.nested_type.add(name=entry)
        pair.options.map_entry = True
        _add_field(pair, 1, "string key")
        _add_field(pair, 2, "string value")
        kind = f"repeated {message.name}.{entry}"
    if kind.startswith("repeated "):
        field.label = FieldDescriptorProto.LABEL_REPEATED
        kind = kind.removeprefix("repeated ")
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{kind}"


def _classes() -> dict[str, Any]:
    # Its own pool, so that the same file in the default pool, from another library, is no conflict.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in _MESSAGES
    }


_CLASSES = _classes()
ScaledObjectRef = _CLASSES["ScaledObjectRef"]
IsActiveResponse = _CLASSES["IsActiveResponse"]
GetMetricSpecResponse = _CLASSES["GetMetricSpecResponse"]
MetricSpec = _CLASSES["MetricSpec"]
GetMetricsRequest = _CLASSES["GetMetricsRequest"]
GetMetricsResponse = _CLASSES["GetMetricsResponse"]
MetricValue = _CLASSES["MetricValue"]
