"""The image, built by an engine and run as the manifests run it: `make test-image`.

Needs podman. Where no registry answers, mmdebstrap makes a base of Debian's packages that stands for the official one.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from perdura.local.manifests_kustomize import render
from perdura.registry.migrate import HEAD
from tests.conftest import free_port
from tests.image import DOCKERFILE, FUNCTIONS, REPOSITORY

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1500)]

IMAGE = "localhost/perdura-test"
UNPRIVILEGED = ("--read-only", "--tmpfs=/tmp", "--cap-drop=all", "--security-opt=no-new-privileges")
PROBE = "import sys, urllib.request as u; print(u.urlopen('http://127.0.0.1:8080' + sys.argv[1], timeout=5).status)"
DOORS = {"access", "premis"}


@dataclass(frozen=True)
class Engine:
    """podman with a store of its own."""

    root: Path

    def __call__(self, *arguments: str | Path, check: bool = True, seconds: float = 120) -> str:
        """What a command of podman prints; AssertionError with its errors where it fails."""
        own = [f"--root={self.root / 'store'}", f"--runroot={self.root / 'run'}", "--cgroup-manager=cgroupfs"]
        runtime = ["--runtime=runc"] if shutil.which("runc") else []
        done = subprocess.run(
            ["podman", *own, "--events-backend=file", *runtime, *arguments],
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        assert not check or done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
        return done.stdout if done.returncode == 0 else f"failed: {done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine with the image in it; skips where none is here, or the image's base cannot be had."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not here")
    made = Engine(tmp_path_factory.mktemp("engine"))
    if made("info", check=False).startswith("failed"):
        pytest.skip("podman does not work here")
    base = re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)[0]
    if made("pull", "--quiet", base, check=False, seconds=300).startswith("failed"):
        _stand_in(made, base)
    build(made, "--target=perdura", f"--tag={IMAGE}")
    yield made
    made("system", "reset", "--force", check=False)


def _stand_in(engine: Engine, base: str) -> None:
    """A base of Debian's packages with the same Python, as the official image has it in `/usr/local/bin`."""
    if shutil.which("mmdebstrap") is None or os.getuid() != 0:
        pytest.skip("no registry answers, and mmdebstrap is not here")
    archive, suite = engine.root / "base.tar", base.rpartition("-")[2]
    link = 'ln -s /usr/bin/python3 "$1/usr/local/bin/python"'
    packages = "--include=python3,python3-venv,ca-certificates"
    made = subprocess.run(
        ["mmdebstrap", "--variant=minbase", packages, f"--customize-hook={link}", suite, archive],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"no base: {made.stderr[-300:]}")
    engine("import", archive, base, seconds=300)


def build(engine: Engine, *arguments: str) -> None:
    """Build the image, or a part of it; packages come through what this machine uses."""
    mounted = [path for path in ("/etc/ssl/certs", "/etc/pip.conf") if Path(path).exists()]
    volumes = [f"--volume={path}:{path}:ro" for path in mounted]
    engine(
        "build", "--isolation=chroot", "--pull=never", "--network=host", *volumes, *arguments,
        f"--file={DOCKERFILE}", str(REPOSITORY), seconds=900,
    )  # fmt: skip


@contextmanager
def running(engine: Engine, *options: str, arguments: tuple[str, ...] = ()) -> Iterator[str]:
    """The id of a container with no more rights than the manifests give it, removed afterwards."""
    files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 4096)
    limits = (f"--ulimit=nofile={files}:{files}", "--ulimit=nproc=1000:1000")
    container = engine("run", "--detach", *UNPRIVILEGED, *limits, *options, IMAGE, *arguments).strip()
    try:
        yield container
    finally:
        engine("rm", "--force", container, check=False)


def answers(engine: Engine, container: str, path: str, seconds: float = 30) -> str:
    """The status of a probe from inside the container."""
    end, said = time.monotonic() + seconds, ""
    while time.monotonic() < end:
        said = engine("exec", container, "python", "-c", PROBE, path, check=False).strip()
        if not said.startswith("failed") or "HTTP Error" in said:
            break
        time.sleep(0.2)
    return said


def memory() -> dict[str, str]:
    """The limit of each function, in bytes as podman takes them."""
    services = [each for each in render(REPOSITORY / "infra/knative/base") if "serving" in each["apiVersion"]]
    found = {}
    for service in services:
        [container] = service["spec"]["template"]["spec"]["containers"]
        limit = container["resources"]["limits"]["memory"]
        found[service["metadata"]["name"]] = limit.replace("Mi", "m").replace("Gi", "g")
    return found


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_serves_without_rights_and_ends_when_it_is_told(engine: Engine, function: str) -> None:
    with running(engine, "--network=none", f"--memory={memory()[function]}", f"--env=FUNCTION={function}") as container:
        for path in ("/healthz", "/_/health"):
            assert answers(engine, container, path) == "200", engine("logs", container)
        assert engine("exec", container, "id", "--user").strip() == "65532"
        for place in ("/", "/opt/perdura/container"):
            assert "Read-only file system" in engine("exec", container, "touch", f"{place}/x", check=False)
        engine("stop", "--time=20", container)
        assert engine("inspect", "--format={{.State.ExitCode}}", container).strip() == "0"


def test_no_compiler_is_in_it(engine: Engine) -> None:
    look = "for name in cc gcc g++ c++ clang ld as make; do command -v $name; done; true"
    with running(engine, "--network=none", "--entrypoint=sleep", arguments=("60",)) as container:
        assert engine("exec", container, "sh", "-c", look) == ""
        assert "Read-only" in engine(
            "exec", container, "python", "-m", "compileall", "/opt/perdura/lib", "-q", "-f", check=False
        )


def test_the_bill_of_materials_is_in_it_and_comes_by_itself(engine: Engine, tmp_path: Path) -> None:
    build(engine, "--target=sbom", f"--output=type=local,dest={tmp_path}")
    alone = json.loads((tmp_path / "sbom.cdx.json").read_text())
    with running(engine, "--network=none", "--entrypoint=sleep", arguments=("60",)) as container:
        assert json.loads(engine("exec", container, "cat", "/usr/share/sbom/perdura.cdx.json")) == alone
        installed = engine(
            "exec", container, "dpkg-query", "--show", "--showformat=${Package} ${Version}\n"
        ).splitlines()
    listed = {
        f"{each['name']} {each['version']}" for each in alone["components"] if each["purl"].startswith("pkg:deb/")
    }
    assert listed == set(installed)


@pytest.mark.stack
def test_it_brings_a_database_to_its_schema_and_is_ready_for_it(engine: Engine, postgres_url: str) -> None:
    name, port = f"image_{os.urandom(4).hex()}", free_port()
    admin = create_engine(f"{postgres_url}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = f"{postgres_url}/{name}"
    try:
        with running(engine, "--network=host", f"--env=PERDURA_DATABASE_OWNER_URL={url}",
                     f"--env=PERDURA_DATABASE_URL={url}", arguments=("migrate",)) as container:  # fmt: skip
            assert engine("wait", container, seconds=180).strip() == "0", engine("logs", container)
        database = create_engine(url)
        with database.connect() as connection:
            assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == HEAD
        database.dispose()
        served = ("--network=host", "--env=FUNCTION=registry", "--env=HOST=127.0.0.1", f"--env=PORT={port}")
        probe = PROBE.replace("8080", str(port))
        with running(engine, *served, f"--env=PERDURA_DATABASE_URL={url}") as container:
            end, said = time.monotonic() + 30, ""
            while time.monotonic() < end and said != "200":
                said = engine("exec", container, "python", "-c", probe, "/readyz", check=False).strip()
            assert said == "200", engine("logs", container)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()
