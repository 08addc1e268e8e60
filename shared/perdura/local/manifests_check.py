"""Checks Kubernetes documents as the API server and Knative's webhooks would, and beyond (serverless.md §3.6)."""

from __future__ import annotations

from collections.abc import Sequence

from perdura.local.manifests_admission import check_admission
from perdura.local.manifests_findings import Checked, Finding
from perdura.local.manifests_kustomize import Document
from perdura.local.manifests_lint import lint_bundle, lint_document
from perdura.local.manifests_schema import Schemas, check_schema


def check(documents: Sequence[Document], schemas: Schemas | None = None) -> list[Checked]:
    """The verdict of each document, in order; findings across documents lie with the one that shows them.

    Without `schemas` unknown fields of custom resources go unnoticed where no rule forbids them.
    """
    findings: list[list[Finding]] = []
    for document in documents:
        found = [*check_schema(document, schemas or {}), *check_admission(document)]
        findings.append(list(dict.fromkeys(found)))
    sound = [document for document, found in zip(documents, findings, strict=True) if not found]
    beyond: dict[int, list[Finding]] = {id(document): list(lint_document(document)) for document in sound}
    for document, finding in lint_bundle(sound):
        beyond[id(document)].append(finding)
    return [
        Checked(document, tuple(found + beyond.get(id(document), [])))
        for document, found in zip(documents, findings, strict=True)
    ]
