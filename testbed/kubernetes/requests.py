"""What requests to an API server say: paths, selectors and patches."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote

from testbed.kubernetes.kinds import BY_PLACE, EXTERNAL_METRICS, Kind
from testbed.kubernetes.store import Object, RefusedError

KEYS_OF_LISTS = {"conditions": "type", "ownerReferences": "uid"}
"""Lists that a strategic merge patch merges by a key. It replaces others as a whole."""


class Place(NamedTuple):
    """What a path names."""

    kind: Kind
    namespace: str
    name: str
    """Empty for all objects of the kind."""
    part: str
    """`status`, `scale`, or empty for the whole object."""


def place_of(path: str) -> Place:
    """Return what a path names. Raises `RefusedError` for an unknown kind."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    if group == EXTERNAL_METRICS.group and rest:
        return Place(EXTERNAL_METRICS, namespace, "/".join(rest), "")
    kind = BY_PLACE.get((group, rest[0])) if rest else None
    if kind is None:
        message = "the server could not find the requested resource"
        raise RefusedError(HTTPStatus.NOT_FOUND, "NotFound", message)
    rest += [""] * (3 - len(rest))
    return Place(kind, namespace, rest[1], rest[2])


def is_selected(found: Object, query: Mapping[str, str]) -> bool:
    """Return whether an object is selected by `labelSelector` and `fieldSelector`."""
    labels = found["metadata"].get("labels") or {}
    fields = {f"metadata.{key}": value for key, value in found["metadata"].items()}
    selectors = ((query.get("labelSelector"), labels), (query.get("fieldSelector"), fields))
    for selector, values in selectors:
        for part in (selector or "").split(",") if selector else ():
            key, equal, wanted = part.partition("=")
            if not equal or key.endswith("!"):
                message = f"this API server does not know the selector {part!r}"
                raise RefusedError(HTTPStatus.BAD_REQUEST, "BadRequest", message)
            if values.get(key, "") != wanted.removeprefix("="):
                return False
    return True


def labels_of(selector: str) -> dict[str, str]:
    """Return the labels that a selector of equalities wants."""
    return dict(part.split("=", 1) for part in selector.split(",") if part)


def merged(old: Any, patch: Any, *, strategic: bool = False) -> Any:
    """Return the result of a JSON merge patch, or of a strategic one."""
    if not isinstance(patch, Mapping) or not isinstance(old, Mapping):
        return copy.deepcopy(patch)
    new = dict(old)
    for key, value in patch.items():
        if key.startswith("$"):  # a directive, such as the order of a list
            continue
        if value is None:
            new.pop(key, None)
        elif strategic and key in KEYS_OF_LISTS and isinstance(new.get(key), list):
            ident = KEYS_OF_LISTS[key]
            items = {item.get(ident): item for item in new[key]}
            for item in value:
                items[item.get(ident)] = merged(items.get(item.get(ident), {}), item)
            new[key] = list(items.values())
        else:
            new[key] = merged(new.get(key, {}), value, strategic=strategic)
    return new
