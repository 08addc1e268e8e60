"""The container file by rules, its scripts by running them, OpenFaaS's stack by its schema."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import yaml

from perdura.local.manifests_kustomize import read_documents, render
from perdura.runtime import observation
from perdura.settings import Settings
from tests.shared_data import reference_data

REPOSITORY = Path(__file__).resolve().parents[3]
CONTAINER = REPOSITORY / "infra" / "container"
OPENFAAS = REPOSITORY / "infra" / "openfaas"


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) of the Dockerfile, continued lines joined, comments left out."""
    text = re.sub(r"\\\n", " ", (CONTAINER / "Dockerfile").read_text())
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.partition(" ")[2]) for line in lines]


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for name, arguments in instructions():
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, arguments))
    return found


def test_the_last_stage_is_small_and_unprivileged() -> None:
    last = stages()[-1]
    names = [name for name, _ in last]
    assert "RUN" not in names, "nothing is installed where no compiler and no package manager should be used"
    assert ("USER", "65532:65532") in last
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert all(arguments.startswith("[") for name, arguments in last if name in ("ENTRYPOINT", "CMD"))
    assert ("EXPOSE", "8080") in last
    assert all("--from=build" in arguments for name, arguments in last if name == "COPY")


def test_hadolint_like_rules() -> None:
    for name, arguments in instructions():
        assert name in ("ARG", "FROM", "ENV", "WORKDIR", "COPY", "RUN", "LABEL", "USER", "EXPOSE", "ENTRYPOINT", "CMD")
        if name == "FROM":
            assert " AS " in arguments
        if name == "WORKDIR":
            assert arguments.startswith("/")
        if name == "RUN":
            assert "sudo" not in arguments
            assert not re.search(r"\bcd /|curl |wget |apt-get", arguments)
            for install in re.findall(r"pip[^&]* install [^&]*", arguments):
                assert "--require-hashes" in install or "--no-index" in install
                assert "--only-binary :all:" in install or "--no-index" in install, "what is built is not checked"
            for build in re.findall(r"pip wheel [^&]*", arguments):
                assert "--no-build-isolation" in build, "what pip fetches for a build apart is checked by no hash"
    [base] = [arguments for name, arguments in instructions() if name == "ARG"]
    assert re.fullmatch(r"PYTHON=\S+:3\.\d+-slim-\w+(@sha256:[0-9a-f]{64})?", base)


def test_copied_files_exist_and_are_sent_to_the_builder() -> None:
    allowed = [line[1:] for line in (CONTAINER / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"]
    for name, arguments in stages()[0]:
        if name == "COPY":
            *sources, _ = arguments.split()
            for source in sources:
                assert (REPOSITORY / source).exists()
                assert any(source == entry or source.startswith(entry + "/") for entry in allowed), source


def test_build_requirements_are_those_of_development() -> None:
    def pinned(path: Path) -> dict[str, set[str]]:
        blocks = re.split(r"\n(?=[a-z0-9])", path.read_text())
        return {
            block.split(" ")[0]: set(re.findall(r"sha256:[0-9a-f]{64}", block)) for block in blocks if "==" in block
        }

    build, development = pinned(CONTAINER / "build.txt"), pinned(REPOSITORY / "requirements" / "dev.txt")
    assert build
    assert all(development[name] == hashes for name, hashes in build.items())


def load(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"container_{name}", CONTAINER / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setitem(sys.modules, "application", load("application"))
    return load("start")


def test_secrets_of_openfaas_become_variables(
    start: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PERDURA_X_TEST", raising=False)
    monkeypatch.setenv("PERDURA_Y_TEST", "kept")
    (tmp_path / "perdura-x-test").write_text("secret\n")
    (tmp_path / "perdura-y-test").write_text("other")
    start.read_secrets(tmp_path)
    monkeypatch.setattr(start, "SECRETS", tmp_path / "none")
    assert start.os.environ["PERDURA_X_TEST"] == "secret"
    assert start.os.environ["PERDURA_Y_TEST"] == "kept"
    monkeypatch.delenv("PERDURA_X_TEST")


@pytest.mark.parametrize(("status", "code"), [(204, 0), (200, 0), (503, 75), (409, 75), (400, 1)])
def test_a_job_ends_as_its_function_answers(
    start: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, code: int
) -> None:
    seen = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append((environ["CONTENT_TYPE"], environ["wsgi.input"].read()))
        start_response(f"{status} x", [])
        return []

    observed: list[str] = []
    monkeypatch.setattr(observation, "observe", lambda: observed.append("begun"))
    monkeypatch.setattr(observation, "end", lambda: observed.append("told"))
    event = tmp_path / "event"
    event.write_text('{"specversion":"1.0"}')
    monkeypatch.setenv("K_EVENT_PATH", str(event))
    monkeypatch.setenv("FUNCTION", "preserve")
    monkeypatch.setattr(sys.modules["application"], "create", lambda: application)
    assert start.once() == code
    assert seen == [("application/cloudevents+json", b'{"specversion":"1.0"}')]
    assert observed == ["begun", "told"]


def test_on_openfaas_no_function_serves_events_to_everybody(
    start: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    monkeypatch.setattr(start.os, "execvp", lambda program, _: begun.append(program))
    monkeypatch.setattr(start, "SECRETS", tmp_path)
    monkeypatch.delenv("PERDURA_EVENTS_TOKEN", raising=False)
    with pytest.raises(SystemExit, match="perdura-events-token"):
        start.serve()
    monkeypatch.setenv("PERDURA_EVENTS_TOKEN", "token")
    start.serve()
    monkeypatch.delenv("PERDURA_EVENTS_TOKEN")
    monkeypatch.setattr(start, "SECRETS", tmp_path / "none")
    start.serve()
    assert begun == ["gunicorn", "gunicorn"]


def test_the_doctor_of_a_container_knows_its_secrets(start: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[list[str]] = []
    monkeypatch.setattr(start, "read_secrets", lambda: done.append(["secrets"]))
    monkeypatch.setattr(start.os, "execvp", lambda _, arguments: done.append(arguments))
    start.main(["doctor", "--json"])
    assert done[:2] == [["secrets"], ["perdura", "doctor", "--json"]]


def test_unknown_arguments(start: ModuleType) -> None:
    assert start.main(["dance"]) == 64


def test_ticks_of_the_cron_connector_become_events(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(dict(environ))
        return []

    module = load("application")
    monkeypatch.setattr(module, "credential", lambda: "Bearer token")
    wrapped = module.with_cron(application, "cron-function")
    tick = {"HTTP_X_TOPIC": "cron-function", "REQUEST_METHOD": "GET", "PATH_INFO": "/s3", "HTTP_AUTHORIZATION": "x"}
    first = wrapped(dict(tick), lambda *_: None)
    wrapped({"REQUEST_METHOD": "POST"}, lambda *_: None)
    assert seen[0]["HTTP_CE_TYPE"] == "dev.knative.sources.ping"
    assert seen[0]["HTTP_CE_SPECVERSION"] == "1.0"
    assert seen[0]["HTTP_AUTHORIZATION"] == "Bearer token"
    assert seen[0]["PATH_INFO"] == "/"
    assert seen[1] == {"REQUEST_METHOD": "POST"}
    told: list[str] = []
    assert list(wrapped(dict(tick), lambda status, _: told.append(status))) == []
    assert told == ["204 No Content"], "one tick at a time: whoever imitates the connector gets no more"
    first.close()
    wrapped(dict(tick), lambda *_: None)
    assert len(seen) == 3


def test_an_unknown_function_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    application = load("application")
    monkeypatch.setattr(application, "files", lambda _: tmp_path)
    (tmp_path / "_functions" / "ingest").mkdir(parents=True)
    (tmp_path / "_functions" / "ingest" / "main.py").touch()
    assert application.main_of("ingest") == str(tmp_path / "_functions" / "ingest" / "main.py")
    for name in ("", "..", "other", "../ingest"):
        with pytest.raises(SystemExit, match="FUNCTION"):
            application.main_of(name)


def test_the_bill_of_materials() -> None:
    bill = load("sbom").document()
    assert bill["bomFormat"] == "CycloneDX"
    assert any(entry["purl"].startswith("pkg:pypi/functions-framework@") for entry in bill["components"])
    assert any(entry["purl"].startswith("pkg:generic/python@3.") for entry in bill["components"])
    json.dumps(bill)


STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.36-9+deb12u10
Description: GNU C Library
 It has the standard libraries.
 .
 Package: of-a-description

Package: bash
Status: install ok installed
Architecture: amd64
Source: bash (5.2.15-2)
Version: 5.2.15-2+b8

Package: gone
Status: deinstall ok config-files
Version: 1
"""


@pytest.mark.parametrize("layout", ["status", "status.d"])
def test_the_bill_has_what_debian_brings(layout: str, tmp_path: Path) -> None:
    if layout == "status":
        (tmp_path / "status").write_text(STATUS)
    else:  # as in images without dpkg
        (tmp_path / "status.d").mkdir()
        for number, paragraph in enumerate(STATUS.split("\n\n")[:2]):
            (tmp_path / "status.d" / str(number)).write_text(paragraph.replace("Status: install ok installed\n", ""))
        (tmp_path / "status.d" / "bash.md5sums").write_text("0 bin/bash\n")
    sbom = load("sbom")
    found = {each["purl"] for each in sbom.debian(tmp_path, {"ID": "debian", "VERSION_ID": "12"})}
    assert found == {
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12&upstream=glibc",
        "pkg:deb/debian/bash@5.2.15-2%2Bb8?arch=amd64&distro=debian-12&upstream=bash%405.2.15-2",
    }
    assert list(sbom.debian(tmp_path / "nowhere", {})) == []


def test_the_bill_is_written_where_the_base_of_the_image_is() -> None:
    bases = {arguments.split()[0] for name, arguments in instructions() if name == "FROM"}
    assert bases == {"${PYTHON}", "scratch"}
    assert "RUN" not in [name for name, _ in stages()[-1]], "a package that the last stage adds would be missing"


def test_the_stack_of_openfaas() -> None:
    [stack] = read_documents(OPENFAAS / "stack.yml")
    jsonschema.validate(stack, json.loads(reference_data("crds", "openfaas", "stack.schema.json").read_text()))
    functions = {folder.parent.name for folder in REPOSITORY.glob("functions/*/main.py")}
    assert set(stack["functions"]) == functions
    known = {f"PERDURA_{name.upper()}" for name in Settings.model_fields}
    for name, function in stack["functions"].items():
        assert function["environment"]["FUNCTION"] == name
        assert "@sha256:" in function["image"]
        assert {secret.upper().replace("-", "_") for secret in function["secrets"]} <= known
    assert set(yaml.safe_load((OPENFAAS / "settings.yml").read_text())["environment"]) <= known


def test_functions_of_openfaas_have_the_ticks_and_threads_that_those_of_knative_have() -> None:
    [stack] = read_documents(OPENFAAS / "stack.yml")
    functions = stack["functions"]
    base = render(REPOSITORY / "infra" / "knative" / "base")
    ticking = {each["spec"]["sink"]["ref"]["name"] for each in base if each["kind"] == "PingSource"}
    cron = {name for name, each in functions.items() if each["annotations"].get("topic") == "cron-function"}
    assert cron == ticking
    assert cron == {name for name, each in functions.items() if each["environment"].get("CRON_TOPIC")}
    for service in (each for each in base if each["kind"] == "Service"):
        pod = service["spec"]["template"]["spec"]
        environment = functions[pod["serviceAccountName"]]["environment"]
        assert environment["THREADS"] == str(pod["containerConcurrency"])
        assert environment["exec_timeout"] == f"{pod['timeoutSeconds']}s"
        assert int(environment["GRACEFUL_TIMEOUT"]) < pod["timeoutSeconds"]


def test_every_function_of_openfaas_may_send_events() -> None:
    [stack] = read_documents(OPENFAAS / "stack.yml")
    [policy] = [each for each in read_documents(OPENFAAS / "broker.yaml") if each["kind"] == "NetworkPolicy"]
    [senders] = policy["spec"]["ingress"][0]["from"]
    assert set(senders["podSelector"]["matchExpressions"][0]["values"]) == set(stack["functions"])


def test_the_broker_of_openfaas_knows_every_subscriber() -> None:
    documents = read_documents(OPENFAAS / "broker.yaml")
    services = json.loads(documents[0]["data"]["services.json"])
    triggers = [read_documents(file)[0] for file in (REPOSITORY / "infra/knative/base/triggers").glob("*.yaml")]
    assert {trigger["spec"]["subscriber"]["ref"]["name"] for trigger in triggers} == set(services)
