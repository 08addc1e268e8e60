"""What is generated from the catalogue: `docs/events.md`, JSON Schemas, an AsyncAPI document, Knative EventTypes.

`python -m perdura.cloudevents.documents` writes them into a checkout; a test fails when they differ from the code.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml

from perdura import __version__
from perdura.cloudevents.catalogue import CATALOGUE, EventType
from perdura.cloudevents.routes import ROUTES

_NOTE = "Generated from shared/perdura/cloudevents by `make documents`; do not edit."


def schema(event_type: EventType) -> dict[str, Any]:
    """JSON Schema (2020-12) of the data of one type."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{event_type.name}.json",
        **event_type.data.model_json_schema(),
    }


def page() -> str:
    """`docs/events.md`: every type, what it means, and the members of its data."""
    lines = ["# CloudEvents of Perdura", "", f"<!-- {_NOTE} -->", ""]
    for title, request in (("Requests: they ask for work", True), ("Facts: they tell what happened", False)):
        lines += [f"## {title}", ""]
        for entry in CATALOGUE.values():
            if entry.request is request:
                lines += _section(entry)
    return "\n".join(lines).rstrip() + "\n"


def _section(entry: EventType) -> Iterator[str]:
    yield from (
        f"### `{entry.name}`",
        "",
        entry.description,
        "",
        *_ends(entry),
        "| member | type | required |",
        "|---|---|---|",
    )
    members = schema(entry)
    for name, member in members.get("properties", {}).items():
        yield f"| `{name}` | {_kind(member)} | {'yes' if name in members.get('required', ()) else 'no'} |"
    yield ""


def _ends(entry: EventType) -> Iterator[str]:
    """Who emits the type and who takes it, and why that does not go round where one does both."""
    route = ROUTES[entry.name]
    emitters = f"Emitted by {_listed(route.emitters)}" if route.emitters else "Emitted by others only"
    takers = f"taken by {_listed(route.takers)}" if route.takers else "for whoever wants to know"
    again = f" ({route.ends})" if route.emitters & route.takers else ""
    yield from (f"{emitters}; {takers}{again}.", "")


def _listed(functions: Collection[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(functions))


def _kind(member: dict[str, Any]) -> str:
    if "$ref" in member:
        return str(member["$ref"]).rpartition("/")[2]
    if "anyOf" in member:
        return " or ".join(_kind(option) for option in member["anyOf"])
    if "enum" in member:
        return ", ".join(f"`{value}`" for value in member["enum"])
    return str(member.get("format") or member.get("type") or "any")


def asyncapi() -> dict[str, Any]:
    """AsyncAPI 3.0: one channel (the broker), one message per type."""
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Perdura", "version": __version__, "description": _NOTE},
        "defaultContentType": "application/json",
        "channels": {
            "broker": {
                "address": "/perdura/default",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in CATALOGUE},
            }
        },
        "operations": {
            "publish": {"action": "send", "channel": {"$ref": "#/channels/broker"}},
        },
        "components": {
            "messages": {
                entry.name: {
                    "name": entry.name,
                    "summary": entry.description,
                    "contentType": "application/json",
                    "payload": {"$ref": f"schemas/{entry.name}.json"},
                }
                for entry in CATALOGUE.values()
            }
        },
    }


def event_types() -> str:
    """Knative EventType manifests (eventing.knative.dev/v1beta3), one document per type."""
    documents = [
        {
            "apiVersion": "eventing.knative.dev/v1beta3",
            "kind": "EventType",
            "metadata": {"name": entry.name.removeprefix("org.perdura."), "namespace": "perdura"},
            "spec": {
                "reference": {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "default"},
                "description": entry.description,
                "attributes": [
                    {"name": "type", "required": True, "value": entry.name},
                    {"name": "source", "required": True, "value": "/perdura/{function}"},
                    {"name": "specversion", "required": True, "value": "1.0"},
                    {"name": "id", "required": True},
                    {"name": "partitionkey", "required": False},
                ],
            },
        }
        for entry in CATALOGUE.values()
    ]
    return f"# {_NOTE}\n" + yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True)


def files() -> dict[str, str]:
    """Every generated file by its path in the repository."""
    written = {
        "docs/events.md": page(),
        "docs/asyncapi.json": json.dumps(asyncapi(), indent=2) + "\n",
        "infra/knative/base/eventtypes.yaml": event_types(),
    }
    for entry in CATALOGUE.values():
        written[f"docs/schemas/{entry.name}.json"] = json.dumps(schema(entry), indent=2) + "\n"
    return written


if __name__ == "__main__":
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    for name, content in files().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")
