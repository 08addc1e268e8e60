"""A repository's whole history, streamed from Git's own HTTP server and read back by Git."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from perdura.clients.http import HttpClient, UpstreamRefused
from perdura.clients.reach import Reach
from perdura.settings import Settings
from perdura.sources import gitlab
from perdura.sources.catalogue import Recognised
from perdura.sources.git_bundle import GitOrigin, address, refs
from perdura.sources.plan import PlannedFile, to_json
from perdura.sources.profile import Profile
from perdura.sources.protocols import client_for
from perdura.sources.transfer import FileRefused, fetch
from perdura.storage.memory import MemoryStore
from tests.upstreams.recorded import Recorded
from tests.upstreams.recorded import client as recorded_client

GIT = shutil.which("git")
pytestmark = pytest.mark.skipif(GIT is None, reason="git is not installed")
IDENTITY = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}


def git(folder: Path, *arguments: str) -> str:
    command = [GIT or "git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **IDENTITY}).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A bare repository with two branches and a tag."""
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    for number in range(20):
        (work / f"{number}.txt").write_text(f"{number}\n" * 500)
        git(work, "add", ".")
        git(work, "commit", "-q", "-m", f"commit {number}")
    git(work, "tag", "-a", "v1", "-m", "one")
    git(work, "checkout", "-q", "-b", "side")
    (work / "side.bin").write_bytes(os.urandom(300_000))
    git(work, "add", ".")
    git(work, "commit", "-q", "-m", "side")
    git(tmp_path, "clone", "-q", "--mirror", str(work), "bare.git")
    return tmp_path / "bare.git"


class Handler(BaseHTTPRequestHandler):
    """Git's own `http-backend` behind a socket."""

    root = ""
    seen: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        environment = {
            **os.environ,
            **IDENTITY,
            "GIT_PROJECT_ROOT": self.root,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
        }
        done = subprocess.run([GIT or "git", "http-backend"], input=body, capture_output=True, env=environment)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def server(repository: Path) -> Iterator[str]:
    handler = type("Own", (Handler,), {"root": str(repository.parent)})
    Handler.seen.clear()
    served = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=served.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()
    thread.join()


def client(base: str) -> HttpClient:
    reach = Reach(frozenset({"127.0.0.1"}), allow_loopback=True)
    credentials = {"Authorization": "Bearer top-secret"}
    return HttpClient(reach, user_agent="tests", credentials=credentials, credentials_origin=base)


def planned(url: str) -> PlannedFile:
    return PlannedFile("repository.bundle", url, "data/content/repository.bundle", None, {}, None, None, None)


def test_git_reads_the_bundle_with_every_branch_tag_and_commit(repository: Path, server: str, tmp_path: Path) -> None:
    store = MemoryStore()
    with client(server) as http:
        found, _ = refs(http, f"{server}/bare.git")
        fetched = fetch(planned(address(f"{server}/bare.git", found)), GitOrigin(http), store, "b", "k")
    data = store.read(store.head("b", "k").ref)
    assert fetched.size == len(data)
    bundle = tmp_path / "repository.bundle"
    bundle.write_bytes(data)
    git(repository, "bundle", "verify", str(bundle))
    git(tmp_path, "clone", "-q", "--mirror", str(bundle), "again.git")
    ask = ("for-each-ref", "--format=%(objectname) %(refname)")
    assert git(tmp_path / "again.git", *ask) == git(repository, *ask)
    git(tmp_path / "again.git", "fsck", "--strict")
    assert b"top-secret" not in data
    assert all(headers["authorization"] == "Bearer top-secret" for headers in Handler.seen)


def test_other_refs_than_planned_are_noticed(repository: Path, server: str) -> None:
    with client(server) as http:
        found, _ = refs(http, f"{server}/bare.git")
        git(repository, "update-ref", "refs/heads/new", found["refs/heads/main"])
        with pytest.raises((FileRefused, UpstreamRefused)) as caught:
            fetch(planned(address(f"{server}/bare.git", found)), GitOrigin(http), MemoryStore(), "b", "k")
    assert caught.value.code == "upstream-changed"


def test_what_is_not_there_is_refused(server: str) -> None:
    with client(server) as http, pytest.raises(UpstreamRefused):
        refs(http, f"{server}/none.git")


def test_a_gitlab_project_is_planned_with_its_bundle_and_the_token_goes_to_git_as_it_wants_it(
    repository: Path, server: str
) -> None:
    profile = Profile(id="lab", name="Lab", protocol="gitlab", auth="bearer", base_url="http://127.0.0.1")
    record = Recognised(profile, "105", server, server)
    project = {"path": "bare", "default_branch": "main", "http_url_to_repo": f"{server}/bare.git"}
    api = f"{server}/api/v4/projects/105"
    commit = git(repository, "rev-parse", "main").strip()
    answers = [
        {"url": api, "body": json.dumps(project)},
        {"url": f"{api}/repository/tree?recursive=true&per_page=100&page=1&ref={commit}", "body": "[]"},
        {"url": f"{api}/export", "body": "{}", "status": 403},
    ]
    settings = Settings(allow_loopback_upstreams=True)
    recording = Recorded([{"status": 200, "headers": {}, **answer} for answer in answers])
    with (
        recorded_client(record, recording, settings) as http,
        client_for(record, settings, token="t", basic=True) as own,
    ):
        plan = gitlab.plan(record, http, own)
        (file,) = plan.files
        assert file.path == "data/content/repository_metadata/bare.bundle"
        assert [capture.name for capture in plan.captures] == ["project.json", "tree-1.json", "refs.txt"]
        fetch(file, GitOrigin(http, own), MemoryStore(), "b", "k")
    assert all(headers["authorization"] == "Basic b2F1dGgyOnQ=" for headers in Handler.seen)
    assert b"b2F1dGgyOnQ=" not in to_json(plan)
