"""Manifests, and which keys of them a CRD does not know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from testbed.kubernetes.store import Object
from testbed.tools import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"


def manifest(name: str) -> Object:
    """A manifest of `deploy/kubernetes`, such as `scaledobject`."""
    found: Object = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return found


def deployment(name: str, namespace: str, replicas: int) -> Object:
    """A Deployment whose pods have the label `app`."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "consumer", "image": "consumer"}]},
            },
        },
    }


def unknown_keys(given: Object, crds: Path) -> list[str]:
    """The keys of an object that the CRD of its kind does not have."""
    group, version = given["apiVersion"].split("/")
    for path in crds.glob("*.yaml"):
        crd = yaml.safe_load(path.read_text())["spec"]
        if (crd["group"], crd["names"]["kind"]) != (group, given["kind"]):
            continue
        schemas = {each["name"]: each["schema"]["openAPIV3Schema"] for each in crd["versions"]}
        body = {key: value for key, value in given.items() if key != "metadata"}
        return list(_unknown(body, schemas[version], ""))
    raise AssertionError(f"there is no CRD of {given['kind']} in {crds}")


def _unknown(given: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if isinstance(given, list):
        for item in given:
            yield from _unknown(item, schema.get("items", {}), path)
    elif isinstance(given, dict) and "properties" in schema:
        for key, value in given.items():
            below = f"{path}.{key}".removeprefix(".")
            if key not in schema["properties"]:
                yield below
            else:
                yield from _unknown(value, schema["properties"][key], below)
