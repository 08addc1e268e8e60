"""The version before, out of the repository's own history: its last release, or before there is one its last schema."""

from __future__ import annotations

import io
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

TODAY = Path(__file__).resolve().parents[2]
VERSIONS = "shared/perdura/registry/migrations/versions"


@dataclass(frozen=True)
class VersionBefore:
    """A commit, and the newest migration that it knows."""

    commit: str
    migration: str

    def unpack(self, folder: Path) -> None:
        """Write what runs of it into a folder."""
        with tarfile.open(fileobj=io.BytesIO(git("archive", self.commit, "shared", "functions"))) as archive:
            archive.extractall(folder, filter="data")


def version_before() -> VersionBefore:
    """The last release; where there is none, the newest commit that has all migrations but the last.

    Skips where the history is not here.
    """
    here = git("rev-parse", "HEAD").decode().strip()
    for tag in git("tag", "--merged", "HEAD", "--list", "v*", "--sort=-version:refname").decode().split():
        commit = git("rev-list", "-1", tag).decode().strip()
        if commit != here:
            return VersionBefore(commit, _migrations(commit)[-1])
    wanted = sorted(path.stem[:4] for path in (TODAY / VERSIONS).glob("0*.py"))[:-1]
    for commit in git("log", "--format=%H", "-100", "--", VERSIONS).decode().split():
        if _migrations(commit) == wanted:
            return VersionBefore(commit, wanted[-1])
    pytest.skip("no commit in this clone has all migrations but the last")


def _migrations(commit: str) -> list[str]:
    names = git("ls-tree", "--name-only", commit, f"{VERSIONS}/").decode().split()
    return sorted(Path(name).stem[:4] for name in names if Path(name).name.startswith("0"))


def git(*arguments: str) -> bytes:
    """What git says of this repository; skips where there is none."""
    try:
        return subprocess.run(["git", "-C", TODAY, *arguments], check=True, capture_output=True, timeout=60).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no history here to take the version before from: git, or a clone that is not shallow")
