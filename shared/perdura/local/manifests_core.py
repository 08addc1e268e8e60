"""Kubernetes' own kinds against its schemas: unknown fields are errors, as they are to a strict API server.

The schemas come with `kubernetes-validate`, of the extra `dev`.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec

from perdura.local.manifests_findings import Finding, error
from perdura.local.manifests_kustomize import Document

KUBERNETES = "1.34"
"""The version whose schemas decide."""

_LIBRARY = "kubernetes_validate"
_GROUPS = frozenset(
    {"v1", "apps", "autoscaling", "batch", "policy"}
    | {f"{name}.k8s.io" for name in ("networking", "rbac.authorization", "storage", "scheduling", "discovery", "node")}
)


def known() -> bool:
    """Whether the schemas are here."""
    return find_spec(_LIBRARY) is not None


def check_core(document: Document) -> Iterator[Finding]:
    """What Kubernetes' own schema says of it, or of the Job that a JobSink makes; nothing of custom resources."""
    if (document.get("apiVersion"), document.get("kind")) == ("sinks.knative.dev/v1alpha1", "JobSink"):
        job = (document.get("spec") or {}).get("job")
        if isinstance(job, dict):
            yield from _checked({"apiVersion": "batch/v1", "kind": "Job", **job}, "spec.job")
    elif _is_core(document):
        yield from _checked(document, "")


def _is_core(document: Document) -> bool:
    return str(document.get("apiVersion", "")).partition("/")[0] in _GROUPS


def _checked(document: Document, at: str) -> Iterator[Finding]:
    library = import_module(_LIBRARY)
    try:
        library.validate(document, KUBERNETES, strict=True)
    except library.ValidationError as failure:
        path = ".".join(filter(None, [at, *map(str, failure.absolute_path)]))
        yield error(path, str(failure.message)[:200])
    except (library.SchemaNotFoundError, library.InvalidSchemaError) as unknown:
        yield error("kind", str(unknown.message)[:200])
