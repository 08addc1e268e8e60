"""A CycloneDX 1.6 bill of materials of the Python packages in this environment, to standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib.metadata import Distribution, distributions
from typing import Any


def component(distribution: Distribution) -> dict[str, Any]:
    """One package: name, version, licence, package URL."""
    metadata: Mapping[str, Any] = distribution.metadata  # type: ignore[assignment]
    name, version = str(metadata["Name"]), distribution.version
    entry: dict[str, Any] = {
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name.lower().replace('_', '-')}@{version}",
        "bom-ref": f"{name}@{version}",
    }
    if "License-Expression" in metadata:
        entry["licenses"] = [{"expression": metadata["License-Expression"]}]
    elif "License" in metadata and len(metadata["License"]) < 100:
        entry["licenses"] = [{"license": {"name": metadata["License"]}}]
    return entry


def document() -> dict[str, Any]:
    """The whole bill, in the order of names, without time or serial number: the same image gives the same bill."""
    components = sorted((component(one) for one in distributions()), key=lambda entry: str(entry["name"]).lower())
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}


if __name__ == "__main__":
    json.dump(document(), sys.stdout, indent=1)
