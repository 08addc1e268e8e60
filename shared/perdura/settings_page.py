"""`docs/settings.md`, generated from `perdura.settings` by `make documents`; a test compares them."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from perdura.settings import Settings


def page() -> str:
    """One table of all settings: environment variable, default, meaning."""
    lines = [
        "# Settings",
        "",
        "<!-- Generated from shared/perdura/settings.py by `make documents`; do not edit. -->",
        "",
        "Every setting is an environment variable. `perdura up` sets those of its embedded services itself; a service",
        "that is configured from outside (`PERDURA_DATABASE_URL`, `PERDURA_S3_ENDPOINT`) is used and not started.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        lines.append(f"| {_variables(name, field)} | {_default(field)} | {field.description} |")
    return "\n".join(lines) + "\n"


def _variables(name: str, field: FieldInfo) -> str:
    if isinstance(field.validation_alias, AliasChoices):
        return ", ".join(f"`{choice}`" for choice in field.validation_alias.choices)
    return f"`PERDURA_{name.upper()}`"


def _default(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return "unset" if value is None or value is PydanticUndefined or value == "" else f"`{value}`"


if __name__ == "__main__":
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    (root / "docs/settings.md").write_text(page(), encoding="utf-8")
