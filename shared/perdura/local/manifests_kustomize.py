"""The part of kustomize that our own `infra/` uses: resources, namespace, images, patches and, of Jobs, nameSuffix.

Neither kustomize nor kubectl can be had where Perdura runs as one command, and the local broker and the manifest
checker must see what a cluster would see; the tests compare it with kubectl where there is one.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from perdura.errors import Broken

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

Document = dict[str, Any]

_UNDERSTOOD = frozenset(
    {"apiVersion", "kind", "metadata", "namespace", "resources", "components", "images", "patches", "nameSuffix"}
)


class BadManifest(Broken):
    """A manifest or kustomization cannot be read."""

    code = "bad-manifest"


class StrictLoader(_SafeLoader):
    """YAML without duplicate keys, which kubectl refuses and PyYAML swallows."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping; raises yaml.YAMLError for a duplicate or unhashable key."""
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, "a key is no string", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_documents(path: Path) -> list[Document]:
    """The YAML documents of a file, empty ones left out. Raises BadManifest."""
    try:
        documents = list(yaml.load_all(path.read_text("utf-8"), Loader=StrictLoader))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise BadManifest(f"{path}: {error}") from error
    for document in documents:
        if document is not None and not isinstance(document, dict):
            raise BadManifest(f"{path}: a document is no mapping")
    return [document for document in documents if document is not None]


def render(path: Path) -> list[Document]:
    """All resources of a file or a directory.

    Of a directory: what its kustomization makes; else that of its `base`; else every YAML file below it.
    """
    if path.is_file():
        return read_documents(path)
    if not path.is_dir():
        raise BadManifest(f"{path}: no such file or directory")
    for kustomization in (path / "kustomization.yaml", path / "base" / "kustomization.yaml"):
        if kustomization.is_file():
            return _build(kustomization)
    return [document for file in sorted(path.rglob("*.y*ml")) for document in read_documents(file)]


def _build(file: Path) -> list[Document]:
    [kustomization] = read_documents(file) or [{}]
    unknown = kustomization.keys() - _UNDERSTOOD
    if unknown:
        raise BadManifest(f"{file}: not understood: {', '.join(sorted(unknown))}")
    documents = [
        document for entry in kustomization.get("resources", []) for document in render((file.parent / entry).resolve())
    ]
    for entry in kustomization.get("components", []):
        documents = _patched(documents, file.parent / entry / "kustomization.yaml")
    _apply(documents, kustomization, file)
    if suffix := kustomization.get("nameSuffix"):
        _suffix(documents, suffix, file)
    return documents


def _patched(documents: list[Document], file: Path) -> list[Document]:
    """What a component makes of the documents: its own resources are added, its patches change all."""
    [component] = read_documents(file) or [{}]
    added = [document for entry in component.get("resources", []) for document in render(file.parent / entry)]
    merged = [*documents, *added]
    _apply(merged, component, file)
    return merged


def _apply(documents: list[Document], kustomization: Mapping[str, Any], file: Path) -> None:
    for patch in kustomization.get("patches", []):
        _patch(documents, patch, file)
    for image in kustomization.get("images", []):
        for holder in _mappings(documents):
            if isinstance(holder.get("image"), str):
                holder["image"] = _image(holder["image"], image)
    namespace = kustomization.get("namespace")
    if namespace:
        for document in documents:
            if document.get("kind") == "Namespace":
                document["metadata"]["name"] = namespace
            else:
                document.setdefault("metadata", {})["namespace"] = namespace


def _suffix(documents: list[Document], suffix: str, file: Path) -> None:
    """Name resources by a suffix: Jobs alone, for nothing refers to them by their names."""
    if any(document["kind"] != "Job" for document in documents):
        raise BadManifest(f"{file}: nameSuffix is understood of Jobs only")
    for document in documents:
        document["metadata"]["name"] += suffix


def _patch(documents: list[Document], patch: Mapping[str, Any], file: Path) -> None:
    if "path" in patch:
        bodies: list[Any] = _patch_documents((file.parent / patch["path"]).read_text("utf-8"))
    else:
        bodies = _patch_documents(patch["patch"])
    for body in bodies:
        target = patch.get("target") or _identity(body)
        matched = [document for document in documents if _matches(document, target)]
        if not matched and "target" not in patch:
            raise BadManifest(f"{file}: no resource matches the patch of {target}")
        for document in matched:
            if isinstance(body, list):
                for operation in body:
                    _operate(document, operation, file)
            else:
                merged = _merge(document, body)
                document.clear()
                document.update(merged)


def _patch_documents(text: str) -> list[Any]:
    return [body for body in yaml.load_all(text, Loader=StrictLoader) if body is not None]


def _matches(document: Document, target: Mapping[str, Any]) -> bool:
    found = _identity(document)
    return all(found.get(key) == value for key, value in target.items())


def _identity(document: Document) -> dict[str, Any]:
    """What kustomize knows a resource by; a patch without a `target` must name all of it, its namespace too."""
    group, _, version = document.get("apiVersion", "").rpartition("/")
    metadata = document.get("metadata", {})
    return {
        "group": group,
        "version": version,
        "kind": document.get("kind"),
        "name": metadata.get("name"),
        "namespace": metadata.get("namespace"),
    }


def _merge(document: Any, patch: Any) -> Any:
    """JSON Merge Patch (RFC 7386): what kustomize does with custom resources."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value)
    return merged


def _operate(document: Document, operation: Mapping[str, Any], file: Path) -> None:
    """One operation of a JSON Patch (RFC 6902): add, replace or remove."""
    *parents, last = [
        part.replace("~1", "/").replace("~0", "~") for part in operation["path"].removeprefix("/").split("/")
    ]
    holder: Any = document
    try:
        for part in parents:
            holder = holder[int(part)] if isinstance(holder, list) else holder[part]
        if isinstance(holder, list):
            if operation["op"] == "add":
                holder.insert(len(holder) if last == "-" else int(last), copy.deepcopy(operation["value"]))
            elif operation["op"] == "replace":
                holder[int(last)] = copy.deepcopy(operation["value"])
            else:
                del holder[int(last)]
        elif operation["op"] in ("add", "replace"):
            holder[last] = copy.deepcopy(operation["value"])
        elif operation["op"] == "remove":
            del holder[last]
        else:
            raise BadManifest(f"{file}: operation {operation['op']} is not understood")
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise BadManifest(f"{file}: the patch of {operation.get('path')} does not fit") from error


def _mappings(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping inside a value, itself included."""
    if isinstance(value, dict):
        yield value
        for member in value.values():
            yield from _mappings(member)
    elif isinstance(value, list):
        for member in value:
            yield from _mappings(member)


def _image(reference: str, change: Mapping[str, str]) -> str:
    name, _, _ = reference.partition("@")
    if ":" in name.rpartition("/")[2]:
        name = name.rpartition(":")[0]
    if name != change["name"]:
        return reference
    renamed = change.get("newName", name)
    if "digest" in change:
        return f"{renamed}@{change['digest']}"
    return f"{renamed}:{change['newTag']}" if "newTag" in change else reference.replace(name, renamed, 1)
