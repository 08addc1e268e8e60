"""`docs/errors.md`: every error code, whom it speaks to and what it says, read from the source by `make documents`."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent
_INTRODUCTION = """# Error codes

<!-- Generated from the source by `make documents`; do not edit. -->

Codes are stable; messages may change. They appear in the API (`error.code` of a step), in the timeline, in CloudEvents
(`step.failed`, `sip.rejected`) and in PREMIS events. The kind decides what happens: a *Retryable* one is tried again, a
*Rejected* one is the input's fault, a *Broken* one waits for a person. Rules of packages have codes of their own:
[package-rules.md](package-rules.md).

| code | kind | what it says |
|---|---|---|
"""


@dataclass(frozen=True, slots=True, order=True)
class Code:
    """One use of a code: by an error class of its own, or by one raised with `code=`."""

    code: str
    kind: str
    says: str


def codes() -> list[Code]:
    """All codes in the source, each with the first thing it says."""
    found: dict[str, Code] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for code in _codes_of(ast.parse(path.read_text(encoding="utf-8"))):
            found.setdefault(code.code, code)
    return sorted(found.values())


def page() -> str:
    """The page."""
    rows = [f"| `{each.code}` | {each.kind} | {each.says} |" for each in codes()]
    return _INTRODUCTION + "\n".join(rows) + "\n"


def _codes_of(tree: ast.Module) -> Iterator[Code]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for statement in node.body:
                match statement:
                    case ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(code))):
                        bases = ", ".join(ast.unparse(base) for base in node.bases)
                        yield Code(code, f"{node.name} ({bases})", _first_line(ast.get_docstring(node) or ""))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            for keyword in node.keywords:
                match keyword:
                    case ast.keyword(arg="code" | "error_code", value=ast.Constant(value=str(code))):
                        yield Code(code, node.func.id, _message(node))


def _message(call: ast.Call) -> str:
    """What the call says: its first argument or `message`, with the places of what is filled in."""
    message = next((keyword.value for keyword in call.keywords if keyword.arg == "message"), None)
    said = message or (call.args[0] if call.args else None)
    if isinstance(said, ast.Constant) and isinstance(said.value, str):
        return _first_line(said.value)
    if isinstance(said, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "…" for part in said.values]
        return _first_line("".join(str(part) for part in parts))
    return ""


def _first_line(text: str) -> str:
    return text.strip().split("\n")[0].replace("|", "\\|")


if __name__ == "__main__":
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    (root / "docs/errors.md").write_text(page(), encoding="utf-8")
