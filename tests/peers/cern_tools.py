"""CERN's bagit-create and oais-utils (GPL: programs, never imported), in one environment of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGES = (
    "bagit-create==1.5.3",
    "oais-utils==0.4.1",
    "fs==2.4.16",
    "setuptools==80.9.0",
    "bagit==1.9.0",
    "jsonschema==3.0.2",
    "pyrsistent==0.20.0",
    "attrs==26.1.0",
    "six==1.17.0",
    "appdirs==1.4.4",
    "click==8.5.1",
    "requests==2.34.2",
    "urllib3==2.8.0",
    "certifi",
    "idna==3.10",
    "charset-normalizer==3.5.2",
    "pymarc==4.2.2",
    "python-slugify==6.1.2",
    "text-unidecode==1.3",
    "cernopendata-client==0.2.0",
)
"""What both need and nothing more, without the compiler that only CDS certificates want (cern-oais-platform.md 29)."""


@cache
def cern_tools() -> Path:
    """The environment, made once below the cache directory; skips where it cannot be installed."""
    caches = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    environment = caches / "perdura-peers" / "cern-tools-1.5.3-0.4.1"
    ready = environment / ".ready"
    if ready.exists():
        return environment
    python = str(environment / "bin" / "python")
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", environment], capture_output=True)
    install = [python, "-m", "pip", "install", "-q", "--no-deps", *PACKAGES]
    if made.returncode or subprocess.run(install, capture_output=True, timeout=300).returncode:
        pytest.skip("bagit-create and oais-utils cannot be installed here")
    where = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip()
    # bagit-create imports it although only CDS certificates use it.
    Path(site, "cern_sso.py").touch()
    ready.touch()
    return environment
