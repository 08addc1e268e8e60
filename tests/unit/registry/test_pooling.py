"""What a pooler that works per transaction (PgBouncer, docs/scale.md) would break."""

from __future__ import annotations

import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[3] / "shared" / "perdura"
LOCAL = PACKAGE / "local"
"""The development broker has connections of its own, to PostgreSQL itself."""

OF_A_SESSION = re.compile(r"pg_(?:try_)?advisory_(?:unlock\w*|lock(?:_shared)?)\(|\bLISTEN \w|SET SESSION|CREATE TEMP")


def test_functions_keep_nothing_in_a_session_of_the_database() -> None:
    found = [
        f"{file.relative_to(PACKAGE)}: {match[0]}"
        for file in sorted(PACKAGE.rglob("*.py"))
        if not file.is_relative_to(LOCAL)
        for match in OF_A_SESSION.finditer(file.read_text("utf-8"))
    ]
    assert found == []


def test_every_engine_is_made_where_values_are_hidden_and_losses_noticed() -> None:
    functions = PACKAGE.parents[1] / "functions"
    files = [*PACKAGE.rglob("*.py"), *functions.rglob("*.py")]
    made = [file.relative_to(PACKAGE.parents[1]) for file in files if "create_engine" in file.read_text("utf-8")]
    assert [str(file) for file in made] == ["shared/perdura/database.py"]
    assert (PACKAGE / "database.py").read_text("utf-8").count("create_engine(") == 1
