"""Checks Kubernetes documents as the API server and Knative's webhooks would, and beyond (serverless.md §3.6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perdura.local.manifests_admission import check_admission
from perdura.local.manifests_bundle import lint_bundle
from perdura.local.manifests_core import check_core
from perdura.local.manifests_findings import Checked, Finding
from perdura.local.manifests_kustomize import Document
from perdura.local.manifests_lint import lint_document
from perdura.local.manifests_schema import STACK, Schemas, check_schema
from perdura.local.manifests_stack import check_stack, named


def check(documents: Sequence[Document], schemas: Schemas | None = None, core: bool = False) -> list[Checked]:
    """The verdict of each document, in order; findings across documents lie with the one that shows them.

    Without `schemas` unknown fields of custom resources go unnoticed where no rule forbids them; those of Kubernetes'
    own kinds without `core`, which needs their schemas to be here.
    """
    findings: list[list[Finding]] = []
    documents = [named(document) for document in documents]
    for document in documents:
        found = list(check_schema(document, schemas or {}))
        if document.get("kind") != STACK:
            found += check_admission(document)
        if core:
            found += check_core(document)
        findings.append(list(dict.fromkeys(found)))
    sound = [document for document, found in zip(documents, findings, strict=True) if not found]
    beyond: dict[int, list[Finding]] = {id(document): list(_lint(document)) for document in sound}
    for document, finding in lint_bundle(sound):
        beyond[id(document)].append(finding)
    return [
        Checked(document, tuple(found + beyond.get(id(document), [])))
        for document, found in zip(documents, findings, strict=True)
    ]


def _lint(document: Document) -> Iterator[Finding]:
    return check_stack(document) if document.get("kind") == STACK else lint_document(document)
