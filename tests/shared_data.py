"""Where the reference data lies, for tests that replay recordings; None in a user's clone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[2] / "shared"
_CANDIDATE = Path(os.environ.get("PERDURA_REFERENCE", _BESIDE))

SHARED: Path | None = _CANDIDATE if (_CANDIDATE / "reference" / "data").is_dir() else None


def reference_data(*parts: str) -> Path:
    """The path of a reference file; skips the test by name where the reference is not there."""
    if SHARED is None:
        pytest.skip("reference data (../shared) is not here")
    return SHARED.joinpath("reference", "data", *parts)
