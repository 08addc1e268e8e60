"""What the manifest checker says: findings about a place in a document, and the verdict that follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """`error`: Kubernetes would refuse it. `lint`: it would be taken, and is a mistake all the same."""

    ERROR = "error"
    LINT = "lint"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to say. `path` is as the admission webhooks write it: `spec.filters[0].cesql`."""

    level: Level
    path: str
    message: str

    def as_json(self) -> dict[str, str]:
        """The finding as a JSON object."""
        return {"level": self.level.value, "path": self.path, "message": self.message}


@dataclass(frozen=True, slots=True)
class Checked:
    """A document and everything found in it."""

    document: dict[str, Any]
    findings: Sequence[Finding] = field(default_factory=tuple)

    @property
    def kind(self) -> str:
        """Its kind, empty if it has none."""
        return str(self.document.get("kind", ""))

    @property
    def name(self) -> str:
        """Its name, empty if it has none."""
        metadata = self.document.get("metadata")
        return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""

    @property
    def rejected(self) -> bool:
        """Whether Kubernetes would refuse it."""
        return any(finding.level is Level.ERROR for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """The verdict as a JSON object."""
        return {
            "kind": self.kind,
            "name": self.name,
            "verdict": "rejected" if self.rejected else "accepted",
            "findings": [finding.as_json() for finding in self.findings],
        }


def error(path: str, message: str) -> Finding:
    """A finding that makes Kubernetes refuse the document."""
    return Finding(Level.ERROR, path, message)


def lint(path: str, message: str) -> Finding:
    """A finding that Kubernetes does not make."""
    return Finding(Level.LINT, path, message)
