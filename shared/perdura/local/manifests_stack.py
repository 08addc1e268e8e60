"""OpenFaaS's `stack.yml`, which is no Kubernetes document: it has a schema of its own and the rules of our Services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from perdura.local.manifests_findings import Finding, lint
from perdura.local.manifests_kustomize import Document
from perdura.local.manifests_lint import lint_image
from perdura.local.manifests_schema import STACK

EVENTS_TOKEN = "perdura-events-token"  # noqa: S105 - the name of a secret


def named(document: Document) -> Document:
    """The same document, a stack with the kind and name that reports and schemas know it by: the file has neither."""
    provider = document.get("provider")
    if "kind" in document or "functions" not in document or not isinstance(provider, Mapping):
        return document
    return {"kind": STACK, "metadata": {"name": provider.get("name")}, **document}


def check_stack(document: Document) -> Iterator[Finding]:
    """What goes wrong with a stack that faas-cli takes."""
    functions = document["functions"]
    for name, function in functions.items() if isinstance(functions, Mapping) else ():
        path = f"functions.{name}"
        if not isinstance(function, Mapping):
            continue
        yield from lint_image(function.get("image"), f"{path}.image")
        if EVENTS_TOKEN not in (function.get("secrets") or ()):
            yield lint(f"{path}.secrets", f"without {EVENTS_TOKEN} everybody who reaches the gateway sends it events")
        if function.get("readonly_root_filesystem") is not True:
            yield lint(f"{path}.readonly_root_filesystem", "the container may write to its own files")
