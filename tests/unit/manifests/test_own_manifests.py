"""Our own manifests: without a finding, complete, and saying what the architecture says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from perdura.cloudevents.catalogue import CATALOGUE
from perdura.local.broker.cron import Schedule
from perdura.local.broker.delivery import ATTEMPT_TIMEOUT, Mode
from perdura.local.broker.envelope import Envelope
from perdura.local.broker.topology import build_topology
from perdura.local.manifests_check import check
from perdura.local.manifests_kustomize import Document, StrictLoader, read_documents, render
from perdura.local.manifests_lint import PLACEHOLDER
from perdura.local.manifests_schema import Schemas, read_schemas
from perdura.runtime.notices import FACTS
from perdura.settings import Settings
from tests.shared_data import SHARED, reference_data

COMPONENTS = [
    "aws-notifications", "event-policies", "external-secrets", "openshift", "outsized", "pgbouncer",
    "robot-certificate",
]  # fmt: skip
REPOSITORY = Path(__file__).resolve().parents[3]
KNATIVE = REPOSITORY / "infra" / "knative"
SERVER = REPOSITORY / "shared" / "perdura" / "runtime" / "server.py"
SETTINGS = "perdura-settings"
DOORS = {"access": "publish", "premis": "premis-log"}
"""Services through which the world reads what a function serves; its CloudEvents come through that of its own name."""
SECRETS = read_documents(KNATIVE / "secret.example.yaml")
BUNDLES = [KNATIVE / "base", *sorted(path for path in (KNATIVE / "overlays").glob("*") if path.is_dir())]


def names(documents: list[Document], kind: str) -> set[str]:
    return {document["metadata"]["name"] for document in documents if document["kind"] == kind}


@cache
def known_schemas() -> Schemas | None:
    """The custom resources' schemas; None where the reference data is not here."""
    return read_schemas(reference_data("crds")) if SHARED else None


@pytest.fixture(scope="module")
def base() -> list[Document]:
    return render(KNATIVE / "base")


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: bundle.name)
def test_no_findings(bundle: Path) -> None:
    schemas = known_schemas()
    found = [
        f"{checked.kind}/{checked.name}: {finding.path}: {finding.message}"
        for checked in check(render(bundle), schemas, core=True)
        for finding in checked.findings
        if finding.message != PLACEHOLDER
    ]
    assert found == []


def mistakes(documents: list[Document]) -> list[str]:
    """What is found, but for the digests that whoever installs it puts in."""
    checked = check(documents, known_schemas(), core=True)
    return [each.message for one in checked for each in one.findings if each.message != PLACEHOLDER]


def overlay(folder: Path, *components: str, base: str = "base") -> Path:
    """A kustomization of one's own over ours: kustomize takes relative paths only."""
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(KNATIVE / base, folder)],
        "components": [os.path.relpath(KNATIVE / "components" / name, folder) for name in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return folder


def by_kubectl(folder: Path) -> list[Document]:
    """What kubectl makes of a kustomization. Skips where there is no kubectl."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not here")
    built = subprocess.run(
        [kubectl, "kustomize", folder.resolve()], capture_output=True, text=True, check=False, timeout=60
    )
    assert built.returncode == 0, built.stderr
    return list(yaml.load_all(built.stdout, Loader=StrictLoader))


def in_order(documents: list[Document]) -> list[Document]:
    return sorted(
        documents,
        key=lambda each: (
            each["apiVersion"],
            each["kind"],
            each["metadata"].get("namespace", ""),
            each["metadata"]["name"],
        ),
    )


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: bundle.name)
def test_kubectl_builds_what_we_check(bundle: Path) -> None:
    assert in_order(by_kubectl(bundle)) == in_order(render(bundle))


@pytest.mark.parametrize("name", COMPONENTS)
def test_kubectl_builds_what_we_check_of_components(name: str, tmp_path: Path) -> None:
    folder = overlay(tmp_path, name)
    assert in_order(by_kubectl(folder)) == in_order(render(folder))


def test_openshift_is_asked_for_no_user_id(tmp_path: Path) -> None:
    every = [name for name in COMPONENTS if name != "openshift"]
    assert "runAsUser" in json.dumps(render(overlay(tmp_path, *every, base="overlays/kafka")))
    assert "runAsUser" not in json.dumps(render(overlay(tmp_path, *every, "openshift", base="overlays/kafka")))
    assert "runAsUser" not in json.dumps(render(KNATIVE / "overlays" / "openshift"))


def test_the_broker_takes_events_with_the_token_that_functions_are_given(tmp_path: Path) -> None:
    documents = render(overlay(tmp_path, "event-policies"))
    [policy] = [each for each in documents if each["metadata"]["name"] == "functions-to-broker"]
    [binding] = [each for each in documents if each["kind"] == "SinkBinding"]
    allowed = {"apiVersion": binding["apiVersion"], "kind": "SinkBinding", "name": binding["metadata"]["name"]}
    assert policy["spec"]["from"] == [{"ref": allowed}]


def test_no_overlay_asks_for_a_feature_that_is_off_by_default() -> None:
    # Without `authentication-oidc` a Broker with an EventPolicy is not Ready, and its Triggers are left alone.
    assert "EventPolicy" not in {each["kind"] for bundle in BUNDLES for each in render(bundle)}


def test_pods_of_others_are_let_into_no_namespace_that_refuses_them(tmp_path: Path) -> None:
    def enforced(documents: list[Document]) -> dict[str, str]:
        spaces = [each["metadata"] for each in documents if each["kind"] == "Namespace"]
        return {each["name"]: each["labels"]["pod-security.kubernetes.io/enforce"] for each in spaces}

    assert enforced(render(KNATIVE / "base")) == {"perdura": "restricted"}
    assert enforced(render(KNATIVE / "overlays" / "kafka")) == {"perdura": "restricted"}
    assert enforced(render(KNATIVE / "overlays" / "rabbitmq")) == {"perdura": "baseline"}
    documents = render(overlay(tmp_path, "aws-notifications"))
    [source] = [each for each in documents if each["kind"] == "IntegrationSource"]
    assert enforced(documents)[source["metadata"]["namespace"]] == "baseline"
    account = (source["metadata"]["namespace"], source["spec"]["aws"]["auth"]["serviceAccountName"])
    accounts = [each["metadata"] for each in documents if each["kind"] == "ServiceAccount"]
    assert account in {(each["namespace"], each["name"]) for each in accounts}


@pytest.mark.parametrize("mode", [Mode.MT, Mode.KAFKA, Mode.RABBITMQ])
def test_what_outsiders_ask_for_outlives_a_failover_of_the_database(mode: Mode) -> None:
    bundle = KNATIVE / "overlays" / "rabbitmq" if mode is Mode.RABBITMQ else KNATIVE / "base"
    asked = {"harvest-requested", "premis-record-requested"}
    for trigger in build_topology(render(bundle)).triggers["perdura/default"]:
        waits = sum(trigger.delivery.gap(mode, attempts) for attempts in range(1, trigger.delivery.retry + 1))
        assert (trigger.name.partition("/")[2] in asked) == (waits >= 300), trigger.name
        assert trigger.delivery.dead_letter_sink is not None


def test_the_in_memory_channel_gives_up_no_wait_of_ours() -> None:
    # It gives an event fifteen minutes for everything: the waits of the subscriber, and those of the dead letter sink.
    window = timedelta(minutes=15).total_seconds()
    for trigger in build_topology(render(KNATIVE / "overlays" / "in-memory")).triggers["perdura/default"]:
        delivery = trigger.delivery
        waits = sum(delivery.gap(Mode.SYNC, attempts) for attempts in range(1, delivery.retry + 1))
        assert 2 * waits < window, trigger.name
        assert ATTEMPT_TIMEOUT[Mode.SYNC] == window >= (delivery.timeout or 0)


def test_what_has_to_stop_for_a_restore_is_named_where_it_is_described() -> None:
    text = (REPOSITORY / "docs" / "operations.md").read_text()
    [command] = re.findall(r"kubectl -n perdura delete (\S+\.\S+) --all", text)
    active = {f"{each['kind'].lower()}s.{each['apiVersion'].partition('/')[0]}"
              for each in render(KNATIVE / "base")
              if each["kind"] in ("PingSource", "Trigger") or "serving" in each["apiVersion"]}  # fmt: skip
    assert set(command.split(",")) == active


def test_archives_wait_for_their_turn_where_it_is_deployed(base: list[Document]) -> None:
    [settings] = [each["data"] for each in base if each["kind"] == "ConfigMap"]
    stack = yaml.safe_load((REPOSITORY / "infra" / "openfaas" / "settings.yml").read_text())["environment"]
    told = (settings["PERDURA_ARCHIVES_IN_WORK"], stack["PERDURA_ARCHIVES_IN_WORK"])
    assert f"{told[0]} in the base, {told[1]} on OpenFaaS" in (REPOSITORY / "docs" / "scale.md").read_text()


def yours(folder: Path, *components: str) -> Path:
    """The three kustomizations that the README tells to make, beside a copy of ours."""
    shutil.copytree(KNATIVE, folder / "knative")
    text = (KNATIVE / "README.md").read_text()
    for name, body in re.findall(r"# (yours/\S*kustomization\.yaml)[^\n]*\n(.*?)```", text, re.DOTALL):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        kustomization = yaml.safe_load(body.replace("sha256:…", f"sha256:{'1' * 64}"))
        if "nameSuffix" in kustomization:
            kustomization["components"] += [f"../../knative/components/{component}" for component in components]
        file.write_text(yaml.safe_dump(kustomization))
    return folder / "yours"


@pytest.mark.parametrize("components", [(), ("openshift",)])
def test_the_migration_is_a_job_of_its_release_and_comes_before_the_functions(
    components: tuple[str, ...], tmp_path: Path
) -> None:
    folder = yours(tmp_path, *components)
    [job] = render(folder / "migration")
    assert (job["kind"], job["metadata"]["name"]) == ("Job", "migration-1-4-0")
    assert [finding for checked in check([job], known_schemas(), core=True) for finding in checked.findings] == []
    if "openshift" not in components:
        assert [finding for one in check(render(folder), known_schemas(), core=True) for finding in one.findings] == []
    images = {
        container["image"]
        for document in [job, *render(folder)]
        if document["kind"] == "Job" or "serving" in document["apiVersion"]
        for container in document["spec"]["template"]["spec"]["containers"]
    }
    assert images == {f"registry.your.org/perdura@sha256:{'1' * 64}"}
    assert "Job" not in {document["kind"] for document in render(folder)}
    assert in_order(by_kubectl(folder / "migration")) == [job]
    assert in_order(by_kubectl(folder)) == in_order(render(folder))


@pytest.mark.parametrize("name", COMPONENTS)
def test_components_fit_the_base(name: str, tmp_path: Path) -> None:
    rendered = render(overlay(tmp_path, name))
    assert rendered != render(KNATIVE / "base")
    assert mistakes(rendered) == []


def test_all_components_are_tested() -> None:
    assert sorted(folder.name for folder in (KNATIVE / "components").iterdir()) == COMPONENTS


def test_settings_exist(base: list[Document]) -> None:
    known = {"METRICS_PORT", *(f"PERDURA_{name.upper()}" for name in Settings.model_fields)}
    told = {name for example in SECRETS for name in example["stringData"]}
    [settings] = [document for document in base if document["kind"] == "ConfigMap"]
    [patch] = read_documents(KNATIVE / "overlays" / "rabbitmq" / "settings.yaml")
    assert {*settings["data"], *told, *patch["data"]} <= known


HOLDERS = {
    "perdura-owner": {"migration"},
    "perdura-administration": {"registry", "premis"},
    "perdura-sign-in": {"registry"},
    "perdura-log-keys": {"relay"},
    "perdura-credential-keys": {"registry", "harvest", "relay"},
    "perdura-passes": {"registry", "access"},
    "perdura-notification": {"ingest"},
    "perdura-tape-gateway": {"archive-cta", "aip-gateway"},
    "perdura-tape": {"archive-cta", "relay"},
    "perdura-mail": {"relay"},
}
"""Who reads which Secret, beside the one that all functions read."""


def test_a_secret_is_read_by_whoever_needs_it_only(base: list[Document]) -> None:
    read: dict[str, set[str]] = {}
    for document in [*base, *render(KNATIVE / "migration")]:
        template = document.get("spec", {}).get("template")
        for container in template["spec"]["containers"] if template else ():
            for source in container.get("envFrom", ()):
                if "secretRef" in source:
                    read.setdefault(source["secretRef"]["name"], set()).add(document["metadata"]["name"])
    everybody = read.pop("perdura-credentials")
    assert read == HOLDERS
    assert everybody == {each["metadata"]["name"] for each in base if "serving" in each["apiVersion"]}
    fetched = read_documents(KNATIVE / "components" / "external-secrets" / "credentials.yaml")
    for documents in (SECRETS, fetched):
        assert {each["metadata"]["name"] for each in documents} == {*HOLDERS, "perdura-credentials"}


def test_openfaas_gives_a_function_the_secrets_that_knative_gives_it() -> None:
    [stack] = read_documents(REPOSITORY / "infra" / "openfaas" / "stack.yml")
    optional = {"PERDURA_OIDC_CLIENT_SECRET", "PERDURA_TAPE_TOKEN", "PERDURA_SMTP_PASSWORD"}
    held: dict[str, set[str]] = {}
    for secret in SECRETS:
        for service in HOLDERS.get(secret["metadata"]["name"], stack["functions"]):
            held.setdefault(DOORS.get(service, service), set()).update(secret["stringData"].keys() - optional)
    del held["migration"]
    for secrets in held.values():
        secrets.add("PERDURA_EVENTS_TOKEN")  # Knative keeps strangers away by its network, OpenFaaS cannot
    given = {
        name: {secret.upper().replace("-", "_") for secret in function["secrets"]}
        for name, function in stack["functions"].items()
    }
    assert given == held


def test_the_template_of_the_secret_names_every_secret_there_is() -> None:
    secret = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    text = (KNATIVE / "secret.example.yaml").read_text()
    assert [name for name in sorted(secret) if f"PERDURA_{name.upper()}:" not in text] == []


def test_the_robot_certificate_is_where_the_settings_say(tmp_path: Path) -> None:
    services = [
        each
        for each in render(overlay(tmp_path, "robot-certificate"))
        if each["kind"] == "Service" and "serving" in each["apiVersion"]
    ]
    holders = set()
    for service in services:
        [container] = service["spec"]["template"]["spec"]["containers"]
        environment = {variable["name"]: variable["value"] for variable in container["env"]}
        if "PERDURA_TAPE_CERTIFICATE" in environment:
            holders.add(service["metadata"]["name"])
            [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == "robot"]
            for name in ("CERTIFICATE", "KEY", "CA"):
                assert environment[f"PERDURA_TAPE_{name}"].startswith(f"{mount['mountPath']}/")
    assert holders == {"archive-cta", "relay"}


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: bundle.name)
def test_an_invocation_ends_before_its_delivery_and_that_before_its_service(bundle: Path) -> None:
    documents = render(bundle)
    [settings] = [each for each in documents if each["kind"] == "ConfigMap" and each["metadata"]["name"] == SETTINGS]
    default = Settings.model_fields["invocation_seconds"].default
    budget = float(settings["data"].get("PERDURA_INVOCATION_SECONDS", default))
    services = {each["metadata"]["name"]: each for each in documents if "serving" in each["apiVersion"]}
    for trigger in build_topology(documents).triggers["perdura/default"]:
        limit = services[trigger.subscriber["ref"]["name"]]["spec"]["template"]["spec"]["timeoutSeconds"]
        assert trigger.delivery.timeout is not None
        assert budget < trigger.delivery.timeout <= limit
    stop = int(re.findall(r'"GRACEFUL_TIMEOUT", "(\d+)"', SERVER.read_text())[0])
    for service in services.values():
        assert budget < stop < service["spec"]["template"]["spec"]["timeoutSeconds"]


def test_no_more_connections_are_opened_than_pgbouncer_takes(tmp_path: Path) -> None:
    documents = render(overlay(tmp_path, "pgbouncer"))
    configuration = {each["metadata"]["name"]: each["data"] for each in documents if each["kind"] == "ConfigMap"}
    pool = int(configuration[SETTINGS]["PERDURA_DATABASE_POOL_SIZE"])
    templates = [each["spec"]["template"] for each in documents if "serving" in each["apiVersion"]]
    replicas = [int(each["metadata"]["annotations"]["autoscaling.knative.dev/max-scale"]) for each in templates]
    allowed = re.findall(r"max_client_conn = (\d+)", configuration["pgbouncer"]["pgbouncer.ini"])
    assert sum(replicas) * pool <= int(allowed[0])


def test_metrics_are_served_where_the_network_policy_lets_prometheus_in(base: list[Document]) -> None:
    [settings] = [document for document in base if document["kind"] == "ConfigMap"]
    ports = [
        port["port"]
        for document in base
        if document["kind"] == "NetworkPolicy"
        for rule in document["spec"].get("ingress", [])
        for port in rule.get("ports", [])
    ]
    assert ports == [int(settings["data"]["METRICS_PORT"])]


def test_the_number_of_proxies_is_the_same_at_any_load(base: list[Document]) -> None:
    # Ingress, activator, queue proxy. The activator leaves the path under load unless told to stay.
    [settings] = [document for document in base if document["kind"] == "ConfigMap"]
    assert settings["data"]["PERDURA_PROXIES"] == "3"
    for service in (each for each in base if each["kind"] == "Service" and "serving" in each["apiVersion"]):
        if "networking.knative.dev/visibility" not in service["metadata"]["labels"]:
            annotations = service["spec"]["template"]["metadata"]["annotations"]
            assert annotations["autoscaling.knative.dev/target-burst-capacity"] == "-1", service["metadata"]["name"]


def test_no_secret_is_in_a_manifest(base: list[Document]) -> None:
    assert "Secret" not in {document["kind"] for document in base}


def test_attempts_on_rabbitmq_end_before_it_gives_up() -> None:
    topology = build_topology(render(KNATIVE / "overlays" / "rabbitmq"))
    for trigger in topology.triggers["perdura/default"]:
        delivery = trigger.delivery
        waits = sum(delivery.gap(Mode.RABBITMQ, attempts) for attempts in range(1, delivery.retry + 1))
        assert delivery.timeout is not None
        assert (delivery.retry + 1) * delivery.timeout + waits < 30 * 60


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: bundle.name)
def test_every_file_belongs_to_a_kustomization(bundle: Path) -> None:
    text = "".join(file.read_text() for file in KNATIVE.rglob("kustomization.yaml"))
    for file in bundle.rglob("*.yaml"):
        assert file.name == "kustomization.yaml" or file.relative_to(bundle).as_posix() in text, file


def test_one_service_and_account_per_function(base: list[Document]) -> None:
    functions = {folder.name for folder in (REPOSITORY / "functions").iterdir() if (folder / "main.py").is_file()}
    services = [document for document in base if document["kind"] == "Service" and "serving" in document["apiVersion"]]
    assert {service["metadata"]["name"] for service in services} >= functions
    assert names(base, "ServiceAccount") >= functions
    for service in services:
        pod = service["spec"]["template"]["spec"]
        [container] = pod["containers"]
        environment = {variable["name"]: variable["value"] for variable in container["env"]}
        assert environment["FUNCTION"] == pod["serviceAccountName"]
        assert environment["FUNCTION"] == DOORS.get(service["metadata"]["name"], service["metadata"]["name"])
        assert environment["THREADS"] == str(pod["containerConcurrency"])


def test_strangers_reach_no_service_that_takes_events(base: list[Document]) -> None:
    services = {each["metadata"]["name"]: each for each in base if "serving" in each["apiVersion"]}
    reached = {
        name for name, each in services.items() if "networking.knative.dev/visibility" not in each["metadata"]["labels"]
    }
    assert reached == {"registry", "aip-gateway", *DOORS}
    for door, function in DOORS.items():
        [container] = services[door]["spec"]["template"]["spec"]["containers"]
        assert {"name": "PERDURA_TAKES_EVENTS", "value": "false"} in container["env"]
        assert function in services
    topology = build_topology(base)
    wanted = {trigger.subscriber["ref"]["name"] for trigger in topology.triggers["perdura/default"]}
    wanted |= {ping.sink["ref"]["name"] for ping in topology.pings} | {"premis-log"}
    assert not wanted & reached


ROUTES = {
    "harvest.requested": "harvest",
    "ingest.requested": "ingest",
    "preserve.requested": "preserve",
    "archive.requested": "archive-cta",
    "recall.requested": "archive-cta",
    "publish.requested": "publish",
    "notify.requested": "publish",
    "premis.record.requested": "premis-log",
    "fixity.requested": "preserve",
    "verify.requested": "preserve",
    "ingset.requested": "premis-log",
}


def subscribers(base: list[Document], event_type: str) -> list[Any]:
    topology = build_topology(base)
    event = Envelope({"specversion": "1.0", "id": "1", "source": "/s", "type": event_type}, b"")
    wanting = [trigger for trigger in topology.triggers["perdura/default"] if trigger.wants(event)]
    return [trigger.subscriber["ref"]["name"] for trigger in wanting]


@pytest.mark.parametrize("thing", ROUTES)
def test_routing(base: list[Document], thing: str) -> None:
    assert subscribers(base, f"org.perdura.{thing}.v1") == [ROUTES[thing]]


def test_outsized_packages_go_to_their_job_where_there_is_one(base: list[Document], tmp_path: Path) -> None:
    asked = "org.perdura.preserve.outsized.requested.v1"
    assert subscribers(base, asked) == ["premis-log"]
    rendered = render(overlay(tmp_path, "outsized"))
    assert subscribers(rendered, asked) == ["preserve-outsized"]
    [sink] = [document for document in rendered if document["kind"] == "JobSink"]
    [container] = sink["spec"]["job"]["spec"]["template"]["spec"]["containers"]
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    assert environment["PERDURA_OUTSIZED_BYTES"] == "0"
    assert float(environment["PERDURA_INVOCATION_SECONDS"]) < sink["spec"]["job"]["spec"]["activeDeadlineSeconds"]


def test_facts_go_to_whoever_tells_sources_and_are_not_reported(base: list[Document]) -> None:
    for event_type, entry in CATALOGUE.items():
        if not entry.request:
            assert subscribers(base, event_type) == (["publish"] if event_type in FACTS else [])


def test_ticks_come_as_often_as_what_is_promised_of_them(base: list[Document]) -> None:
    seconds = {"relay": 5, "archive-cta": 15, "preserve": 15}
    for source in (each for each in base if each["kind"] == "PingSource"):
        schedule = Schedule.parse(source["spec"]["schedule"])
        first = schedule.after(datetime(2026, 1, 1, tzinfo=UTC))
        assert first is not None
        second = schedule.after(first)
        assert second is not None
        assert (second - first).total_seconds() == seconds[source["spec"]["sink"]["ref"]["name"]]


def test_ticks_come_every_second_on_one_machine(base: list[Document]) -> None:
    pings = build_topology(base).pings
    assert {ping.sink["ref"]["name"] for ping in pings} == {"relay", "archive-cta", "preserve"}
    for ping in pings:
        assert ping.schedule.fields[0] == frozenset(range(60))


def test_every_step_that_can_run_at_once_has_a_connection_to_postgresql(base: list[Document]) -> None:
    """A running step holds the connection of its claim, and a process runs as many as half of its pool (ADR 6)."""
    [settings] = [document for document in base if document["kind"] == "ConfigMap"]
    places = int(settings["data"]["PERDURA_DATABASE_POOL_SIZE"]) // 2
    asked = {each["spec"]["subscriber"]["ref"]["name"] for each in base if each["kind"] == "Trigger"}
    steps = 0
    for document in base:
        if document["kind"] == "Service" and document["metadata"]["name"] in asked - {"premis-log"}:
            template = document["spec"]["template"]
            most = int(template["metadata"]["annotations"]["autoscaling.knative.dev/max-scale"])
            steps += most * min(places, template["spec"]["containerConcurrency"])
    [deployment] = [
        each
        for each in read_documents(KNATIVE / "components" / "pgbouncer" / "pgbouncer.yaml")
        if each["kind"] == "Deployment"
    ]
    text = (KNATIVE / "components" / "pgbouncer" / "pgbouncer.yaml").read_text()
    room = int(re.findall(r"default_pool_size = (\d+)", text)[0]) * deployment["spec"]["replicas"]
    assert steps == 260, "README.md names this number"
    assert steps + 20 <= room
