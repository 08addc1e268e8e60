"""The schemas of custom resources as strict JSON Schemas: unknown fields are errors (serverless.md §3.6).

Needs `jsonschema`, of the extra `dev`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from perdura.errors import Broken
from perdura.local.manifests_findings import Finding, error
from perdura.local.manifests_kustomize import Document, read_documents

_CARRIED_OVER = (
    "type", "enum", "pattern", "format", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
    "required", "oneOf", "anyOf", "allOf", "not",
)  # fmt: skip

STACK = "Stack"
"""What reports call a `stack.yml` of OpenFaaS, which has no kind of its own."""

Schemas = Mapping[tuple[str, str], Mapping[str, Any]]
"""JSON Schemas by (apiVersion, kind)."""


def read_schemas(folder: Path) -> Schemas:
    """The schemas of all CustomResourceDefinitions below a folder, and of OpenFaaS's stacks. Raises BadManifest."""
    schemas: dict[tuple[str, str], Mapping[str, Any]] = {}
    for file in sorted(folder.rglob("*.yaml")):
        for document in read_documents(file):
            if document.get("kind") == "CustomResourceDefinition":
                spec = document["spec"]
                for version in spec["versions"]:
                    schema = (version.get("schema") or {}).get("openAPIV3Schema")
                    if schema is not None:
                        key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
                        schemas[key] = _root(schema)
    for file in sorted(folder.rglob("stack.schema.json")):
        schemas["", STACK] = _of_stack(json.loads(file.read_text("utf-8")))
    return schemas


def check_schema(document: Document, schemas: Schemas) -> Iterator[Finding]:
    """What the schema of the document's kind says; nothing for a kind that has none here."""
    schema = schemas.get((str(document.get("apiVersion", "")), str(document.get("kind"))))
    if schema is None:
        return
    try:
        from jsonschema import Draft7Validator
    except ImportError as missing:
        raise Broken("checking schemas needs the package jsonschema (extra dev)", code="missing") from missing
    for failure in Draft7Validator(dict(schema)).iter_errors(document):
        path = _path(failure.absolute_path)
        if failure.validator == "additionalProperties":
            known = failure.schema.get("properties", {})
            for name in failure.instance.keys() - known.keys():
                yield error(f"{path}.{name}".lstrip("."), "unknown field")
        else:
            yield error(path, failure.message[:200])


def _root(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a whole object; `metadata` is left open, its fields are Kubernetes' own."""
    converted = _convert(schema)
    anything = {"type": "object"}
    converted["properties"] = {
        **converted.get("properties", {}),
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": anything,
    }
    converted["additionalProperties"] = False
    return converted


def _of_stack(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A stack's schema with the kind and the name that the file itself has not."""
    return {**schema, "properties": {**schema["properties"], "kind": {"const": STACK}, "metadata": {"type": "object"}}}


def _convert(schema: Mapping[str, Any]) -> dict[str, Any]:
    """One OpenAPI schema of Kubernetes as JSON Schema."""
    converted = {name: schema[name] for name in _CARRIED_OVER if name in schema}
    if schema.get("x-kubernetes-int-or-string"):
        converted = {"type": ["integer", "string"]}
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields", False)
    if "properties" in schema:
        converted["properties"] = {name: _convert(member) for name, member in schema["properties"].items()}
    if isinstance(schema.get("additionalProperties"), Mapping):
        converted["additionalProperties"] = _convert(schema["additionalProperties"])
    elif schema.get("type") == "object" and not open_ended and "additionalProperties" not in schema:
        converted["additionalProperties"] = False
    if "items" in schema:
        converted["items"] = _convert(schema["items"])
    if isinstance(converted.get("type"), str):
        converted["type"] = [converted["type"], "null"]
        if "enum" in converted:
            converted["enum"] = [*converted["enum"], None]
    return converted


def _path(parts: Any) -> str:
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.lstrip(".")
