"""The kinds of objects that the controllers and KEDA ask for."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of object."""

    group: str
    version: str
    plural: str
    name: str
    namespaced: bool = True
    scalable: bool = False
    """Whether it has the subresource `scale`."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


def _keda(plural: str, name: str, *, namespaced: bool = True, group: str = "keda.sh") -> Kind:
    return Kind(group, "v1alpha1", plural, name, namespaced)


PODS = Kind("", "v1", "pods", "Pod")
NAMESPACES = Kind("", "v1", "namespaces", "Namespace", namespaced=False)
DEPLOYMENTS = Kind("apps", "v1", "deployments", "Deployment", scalable=True)
REPLICA_SETS = Kind("apps", "v1", "replicasets", "ReplicaSet", scalable=True)
HPAS = Kind("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
SCALED_OBJECTS = _keda("scaledobjects", "ScaledObject")

KINDS = (
    PODS,
    NAMESPACES,
    Kind("", "v1", "events", "Event"),
    Kind("", "v1", "services", "Service"),
    Kind("", "v1", "secrets", "Secret"),
    Kind("", "v1", "configmaps", "ConfigMap"),
    Kind("", "v1", "serviceaccounts", "ServiceAccount"),
    Kind("", "v1", "limitranges", "LimitRange"),
    DEPLOYMENTS,
    REPLICA_SETS,
    Kind("apps", "v1", "statefulsets", "StatefulSet", scalable=True),
    HPAS,
    Kind("batch", "v1", "jobs", "Job"),
    Kind("events.k8s.io", "v1", "events", "Event"),
    Kind("coordination.k8s.io", "v1", "leases", "Lease"),
    SCALED_OBJECTS,
    _keda("scaledjobs", "ScaledJob"),
    _keda("triggerauthentications", "TriggerAuthentication"),
    _keda("clustertriggerauthentications", "ClusterTriggerAuthentication", namespaced=False),
    _keda("cloudeventsources", "CloudEventSource", group="eventing.keda.sh"),
    _keda(
        "clustercloudeventsources",
        "ClusterCloudEventSource",
        namespaced=False,
        group="eventing.keda.sh",
    ),
)
BY_PLACE = {(kind.group, kind.plural): kind for kind in KINDS}
BY_NAME = {(kind.api_version, kind.name): kind for kind in KINDS}
VERBS = ("create", "delete", "get", "list", "patch", "update", "watch")
EXTERNAL_METRICS = Kind(
    "external.metrics.k8s.io", "v1beta1", "externalmetrics", "ExternalMetricValueList"
)
"""Has no objects: the values are computed for each request."""


def resources(group: str) -> list[dict[str, object]]:
    """Return the list of resources of a group, as discovery shows it."""
    if group == EXTERNAL_METRICS.group:
        return [_resource(EXTERNAL_METRICS, EXTERNAL_METRICS.plural, ("get",))]
    found = []
    for kind in KINDS:
        if kind.group != group:
            continue
        found.append(_resource(kind, kind.plural, VERBS))
        found.append(_resource(kind, f"{kind.plural}/status", ("get", "patch", "update")))
        if kind.scalable:
            scale = _resource(kind, f"{kind.plural}/scale", ("get", "patch", "update"))
            found.append(scale | {"group": "autoscaling", "version": "v1", "kind": "Scale"})
    return found


def _resource(kind: Kind, name: str, verbs: tuple[str, ...]) -> dict[str, object]:
    return {
        "name": name,
        "singularName": kind.name.lower(),
        "namespaced": kind.namespaced,
        "kind": kind.name,
        "verbs": verbs,
    }
