"""Rules beyond the recorded verdicts: CESQL, schedules, lint, bundles, kustomize, the command."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from perdura.local.broker.cron import Schedule
from perdura.local.manifests_cesql import BadExpression, check_syntax
from perdura.local.manifests_check import check
from perdura.local.manifests_cli import manifests
from perdura.local.manifests_kustomize import BadManifest, read_documents, render
from perdura.local.manifests_schema import read_schemas
from tests.shared_data import reference_data

DIGEST = "@sha256:" + "1" * 64
SERVICE: dict[str, Any] = {
    "apiVersion": "serving.knative.dev/v1",
    "kind": "Service",
    "metadata": {"name": "fn", "namespace": "ns"},
    "spec": {
        "template": {
            "metadata": {"annotations": {"autoscaling.knative.dev/max-scale": "3"}},
            "spec": {
                "timeoutSeconds": 60,
                "containers": [
                    {
                        "image": f"registry.example.org/fn{DIGEST}",
                        "securityContext": {
                            "runAsNonRoot": True,
                            "readOnlyRootFilesystem": True,
                            "allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"]},
                            "seccompProfile": {"type": "RuntimeDefault"},
                        },
                    }
                ],
            },
        }
    },
}
TO_SERVICE = {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "fn"}}
TO_JOB_SINK = {"ref": {"apiVersion": "sinks.knative.dev/v1alpha1", "kind": "JobSink", "name": "gone"}}
BROKER: dict[str, Any] = {
    "apiVersion": "eventing.knative.dev/v1",
    "kind": "Broker",
    "metadata": {"name": "b", "namespace": "ns"},
    "spec": {
        "delivery": {
            "retry": 3,
            "backoffPolicy": "exponential",
            "backoffDelay": "PT1S",
            "timeout": "PT60S",
            "deadLetterSink": TO_SERVICE,
        }
    },
}
TRIGGER: dict[str, Any] = {
    "apiVersion": "eventing.knative.dev/v1",
    "kind": "Trigger",
    "metadata": {"name": "t", "namespace": "ns"},
    "spec": {"broker": "b", "filters": [{"exact": {"type": "a.b"}}], "subscriber": TO_SERVICE},
}


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with another value at a path such as `spec.template.spec.containers.0.image`."""
    copied = copy.deepcopy(document)
    *parents, last = path.split(".")
    holder: Any = copied
    for part in parents:
        holder = holder[int(part)] if isinstance(holder, list) else holder.setdefault(part, {})
    holder[last] = value
    return copied


def findings(*documents: dict[str, Any]) -> set[str]:
    return {finding.path for checked in check(documents) for finding in checked.findings}


def test_a_sound_bundle_has_no_findings() -> None:
    assert findings(SERVICE, BROKER, TRIGGER) == set()


POD = "spec.template.spec"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (f"{POD}.containers.0.image", "fn:latest", "image"),
        (f"{POD}.containers.0.image", "fn@sha256:" + "0" * 64, "image"),
        (f"{POD}.containers.0.securityContext", {}, "runAsNonRoot"),
        (f"{POD}.containers.0.readinessProbe", {"httpGet": {"port": 9000}}, "readinessProbe.httpGet.port"),
        (
            f"{POD}.containers.0.resources",
            {"requests": {"memory": "2Gi"}, "limits": {"memory": "1024Mi"}},
            "resources.requests.memory",
        ),
        (f"{POD}.responseStartTimeoutSeconds", 90, "responseStartTimeoutSeconds"),
        ("spec.template.metadata", {}, "max-scale"),
        (
            "spec.template.metadata.annotations",
            {"autoscaling.knative.dev/bogus": "1", "autoscaling.knative.dev/max-scale": "1"},
            "bogus",
        ),
    ],
)
def test_lint_of_a_service(path: str, value: Any, expected: str) -> None:
    found = findings(changed(SERVICE, path, value))
    assert any(place.endswith(expected) for place in found), found
    assert not any(checked.rejected for checked in check([changed(SERVICE, path, value)]))


def test_lint_of_a_writable_secret() -> None:
    service = changed(SERVICE, f"{POD}.volumes", [{"name": "s", "secret": {"secretName": "x"}}])
    mounts = [{"name": "s", "mountPath": "/s"}]
    service = changed(service, f"{POD}.containers.0.volumeMounts", mounts)
    assert any(path.endswith("volumeMounts[0].readOnly") for path in findings(service))


@pytest.mark.parametrize(
    "filters",
    [[], [{}], [{"exact": {"type": ""}}], [{"all": []}], [{"not": {"any": [{"prefix": {}}]}}], [{"cesql": "TRUE"}]],
)
def test_lint_of_filters(filters: Any) -> None:
    found = findings(SERVICE, BROKER, changed(TRIGGER, "spec.filters", filters))
    assert found
    assert all(path.startswith("spec.filters") for path in found)


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ((BROKER, TRIGGER), {"spec.subscriber.ref.name", "spec.delivery.deadLetterSink.ref.name"}),
        ((SERVICE, TRIGGER), {"spec.broker", "spec.delivery.deadLetterSink"}),
        ((SERVICE, BROKER, changed(TRIGGER, "spec.subscriber", TO_JOB_SINK)), {"spec.subscriber.ref.name"}),
        ((SERVICE, BROKER, changed(TRIGGER, "spec.delivery", {"retry": 3})),
         {"spec.delivery.deadLetterSink", "spec.delivery.backoffDelay"}),
        ((SERVICE, changed(BROKER, "spec.delivery.timeout", "PT61S"), TRIGGER), {"spec.delivery.timeout"}),
    ],
)  # fmt: skip
def test_lint_of_a_bundle(documents: tuple[dict[str, Any], ...], expected: set[str]) -> None:
    assert findings(*documents) == expected


def sent(function: str, event_type: str) -> list[str]:
    """What is said of a Trigger that hands a type to a function of ours, but for what the bundle lacks."""
    service = changed(SERVICE, f"{POD}.containers.0.env", [{"name": "FUNCTION", "value": function}])
    trigger = changed(TRIGGER, "spec.filters", [{"exact": {"type": f"org.perdura.{event_type}.v1"}}])
    found = [each for each in check([service, BROKER, trigger]) if each.kind == "Trigger"]
    return [f"{finding.path}: {finding.message}" for checked in found for finding in checked.findings]


@pytest.mark.parametrize(
    ("function", "event_type", "said"),
    [
        ("premis-log", "premis.recorded", ["spec.filters: premis-log emits {} itself: a loop"]),
        ("harvest", "ingest.requested", ["spec.subscriber: harvest does nothing with {}"]),
        ("registry", "aip.created", ["spec.subscriber: registry does nothing with {}"]),
        ("premis-log", "aip.created", []),
        ("publish", "step.failed", []),
        ("publish", "archive.completed", []),
        ("harvest", "harvest.run.requested", []),
        ("somebody-else", "ingest.requested", []),
    ],
)  # fmt: skip
def test_a_function_is_sent_what_it_takes_and_nothing_that_it_emits_for_ever(
    function: str, event_type: str, said: list[str]
) -> None:
    assert sent(function, event_type) == [each.format(f"org.perdura.{event_type}.v1") for each in said]


def test_ticks_go_to_functions_that_do_something_at_a_tick() -> None:
    source = {
        "apiVersion": "sources.knative.dev/v1",
        "kind": "PingSource",
        "metadata": {"name": "p", "namespace": "ns"},
        "spec": {"schedule": "* * * * *", "sink": TO_SERVICE},
    }
    for function, said in (("relay", set()), ("ingest", {"spec.sink"}), ("somebody-else", set())):
        service = changed(SERVICE, f"{POD}.containers.0.env", [{"name": "FUNCTION", "value": function}])
        assert findings(service, source) == said


DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "d"},
    "spec": {
        "selector": {"matchLabels": {"app": "d"}},
        "template": {
            "metadata": {"labels": {"app": "d"}},
            "spec": {"containers": [{"name": "d", **SERVICE["spec"]["template"]["spec"]["containers"][0]}]},
        },
    },
}
POLICY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "p"},
    "spec": {"podSelector": {}},
}
JOB_SINK = {
    "apiVersion": "sinks.knative.dev/v1alpha1",
    "kind": "JobSink",
    "metadata": {"name": "s"},
    "spec": {
        "job": {"spec": {"template": {"spec": {**DEPLOYMENT["spec"]["template"]["spec"], "restartPolicy": "Never"}}}}
    },
}


@pytest.mark.parametrize(
    ("document", "place"),
    [
        (changed(DEPLOYMENT, "spec.replcas", 2), "spec"),
        (changed(POLICY, "spec.podSelectr", {}), "spec"),
        (changed(JOB_SINK, "spec.job.spec.backofLimit", 2), "spec.job.spec"),
        (changed(DEPLOYMENT, "kind", "Deploiment"), "kind"),
    ],
)
def test_kinds_of_kubernetes_are_read_strictly(document: dict[str, Any], place: str) -> None:
    for good in (DEPLOYMENT, POLICY, JOB_SINK):
        assert check([good], core=True)[0].findings == ()
    [checked] = check([document], core=True)
    assert checked.rejected
    assert [finding.path for finding in checked.findings] == [place]


@pytest.mark.parametrize(
    ("document", "path", "value", "place"),
    [
        (DEPLOYMENT, "spec.selector.matchLabels", {"app": "x"}, "spec.selector.matchLabels"),
        (DEPLOYMENT, f"{POD}.containers.0.image", "foo:latest", f"{POD}.containers[0].image"),
        (JOB_SINK, f"spec.job.{POD}.containers.0.image", "foo:latest", f"spec.job.{POD}.containers[0].image"),
    ],
)
def test_pods_of_every_kind_are_looked_at(document: dict[str, Any], path: str, value: Any, place: str) -> None:
    assert findings(changed(document, path, value)) == {place}


def test_a_job_is_sent_what_its_function_takes() -> None:
    sink = changed(JOB_SINK, "metadata", {"name": "gone", "namespace": "ns"})
    sink = changed(sink, f"spec.job.{POD}.containers.0.env", [{"name": "FUNCTION", "value": "preserve"}])
    for event_type, said in (("preserve.outsized.requested", set()), ("ingest.requested", {"spec.subscriber"})):
        trigger = changed(TRIGGER, "spec.filters", [{"exact": {"type": f"org.perdura.{event_type}.v1"}}])
        trigger = changed(trigger, "spec.subscriber", TO_JOB_SINK)
        found = [each.findings for each in check([SERVICE, BROKER, sink, trigger]) if each.kind == "Trigger"]
        assert {finding.path for findings in found for finding in findings} == said


def test_a_stack_of_openfaas_is_checked_by_its_own_rules() -> None:
    function = {"image": f"registry.example.org/fn{DIGEST}", "skip_build": True, "readonly_root_filesystem": True,
                "secrets": ["perdura-events-token"]}  # fmt: skip
    stack = {"provider": {"name": "openfaas"}, "functions": {"fn": function}}
    [checked] = check([stack], read_schemas(reference_data("crds")))
    assert (checked.kind, checked.name, checked.findings) == ("Stack", "openfaas", ())
    assert findings(changed(stack, "functions.fn.image", "fn:latest")) == {"functions.fn.image"}
    assert findings(changed(stack, "functions.fn.secrets", [])) == {"functions.fn.secrets"}
    [checked] = check([changed(stack, "functions.fn.imag", "x")], read_schemas(reference_data("crds")))
    assert checked.rejected


def test_types_without_trigger_or_event_type() -> None:
    messages = [
        finding.message
        for checked in check(
            [SERVICE, BROKER, changed(TRIGGER, "spec.filters", [{"exact": {"type": "org.perdura.x"}}])]
        )
        for finding in checked.findings
    ]
    assert "org.perdura.ingest.requested.v1 is routed nowhere" in messages
    assert "org.perdura.ingest.requested.v1 has no EventType" in messages
    assert "a Trigger waits for org.perdura.x, which nobody declares" in messages


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({}, "kind"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Upper"}}, "metadata.name"),
        (changed(BROKER, "spec", "text"), "spec"),
        (changed(BROKER, "spec.delivery", "text"), "spec"),
        (changed(BROKER, "spec.delivery.backoffDelay", "PT"), "spec.delivery.backoffDelay"),
        (changed(TRIGGER, "spec.filters", [{"regex": {"type": "a"}}]), "spec.filters[0].regex"),
        (changed(TRIGGER, "spec.filters", [{"any": [{"exact": {"A": "a"}}]}]), "spec.filters[0].any[0].exact[A]"),
        (changed(SERVICE, f"{POD}.containers", []), f"{POD}.containers"),
        (changed(SERVICE, f"{POD}.containers.0.image", ""), f"{POD}.containers[0].image"),
        (changed(SERVICE, f"{POD}.volumes", [{"name": "v", "hostPath": {"path": "/"}}]), f"{POD}.volumes[0].hostPath"),
        (changed(SERVICE, f"{POD}.volumes", [{"name": "v", "emptyDir": {}}]), f"{POD}.volumes[0].name"),
    ],
)
def test_refused(document: dict[str, Any], path: str) -> None:
    [checked] = check([document])
    assert checked.rejected
    assert path in {finding.path for finding in checked.findings}


def test_cesql_syntax_by_the_test_kit() -> None:
    for file in reference_data("cloudevents", "cesql_tck").glob("*.yaml"):
        for case in yaml.load(file.read_text(), Loader=yaml.BaseLoader)["tests"]:
            if case.get("error") == "parse":
                with pytest.raises(BadExpression):
                    check_syntax(case["expression"])
            else:
                check_syntax(case["expression"])


@pytest.mark.parametrize("text", ["", "type =", "a LIKE b", "(a", "a b", "'open", "a IN ()", "my_ext = 1", "NOT", "§"])
def test_what_is_no_cesql(text: str) -> None:
    with pytest.raises(BadExpression):
        check_syntax(text)


def test_cesql_depth_is_bounded() -> None:
    for text in ("(" * 10_000, "NOT " * 10_000, "f(" * 10_000):
        with pytest.raises(BadExpression):
            check_syntax(text)


@pytest.mark.parametrize(
    ("expression", "zone", "expected"),
    [
        ("* * * * *", None, "2026-11-24T19:31:00"),
        ("* * * * * *", None, "2026-11-24T19:30:16"),
        ("*/10 * * * * *", None, "2026-11-24T19:30:20"),
        ("0 0 29 feb *", None, "2028-02-29T00:00:00"),
        ("30 4 1,15 * mon", None, "2026-11-30T04:30:00"),
        ("0 12 * * MON-FRI", "Europe/Zurich", "2026-11-25T11:00:00"),
        ("@hourly", None, "2026-11-24T20:00:00"),
        ("5/20 * * * *", None, "2026-11-24T19:45:00"),
    ],
)
def test_schedules(expression: str, zone: str | None, expected: str) -> None:
    now = datetime(2026, 11, 24, 19, 30, 15, 999, tzinfo=UTC)
    due = Schedule.parse(expression, zone).after(now)
    assert due == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_a_schedule_that_is_never_due() -> None:
    assert Schedule.parse("0 0 30 2 *").after(datetime(2026, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("expression", "zone"),
    [("* * *", None), ("@every 1s", None), ("60 * * * *", None), ("*/0 * * * *", None), ("a * * * *", None),
     ("5-1 * * * *", None), ("* * * * *", "Nowhere/City"), ("* * * * *", "../../etc/passwd")],
)  # fmt: skip
def test_bad_schedules(expression: str, zone: str | None) -> None:
    with pytest.raises(ValueError, match=r"."):
        Schedule.parse(expression, zone)


@pytest.mark.parametrize(
    "text", ["a: 1\na: 2\n", "- 1\n", "a: [", "a: !!python/object:os.system x", "1: 2\n", "? {b: 1}\n: 2\n"]
)
def test_yaml_is_read_strictly(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(BadManifest):
        read_documents(file)


def test_kustomizations(tmp_path: Path) -> None:
    base, overlay = tmp_path / "base", tmp_path / "overlay"
    for folder in (base, overlay):
        folder.mkdir()
    (base / "kustomization.yaml").write_text("namespace: one\nresources: [all.yaml]\n")
    (base / "all.yaml").write_text(yaml.safe_dump_all([SERVICE, BROKER]))
    (overlay / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "resources": ["../base"],
                "namespace": "two",
                "images": [{"name": "registry.example.org/fn", "newName": "mine/fn", "digest": "sha256:" + "1" * 64}],
                "patches": [
                    {
                        "patch": yaml.safe_dump(
                            {
                                "apiVersion": BROKER["apiVersion"],
                                "kind": "Broker",
                                "metadata": {"name": "b", "namespace": "one"},
                                "spec": {"delivery": None},
                            }
                        )
                    },
                    {
                        "target": {"kind": "Service"},
                        "patch": '- {op: add, path: "/metadata/annotations", value: {a~b: x}}\n'
                        '- {op: replace, path: "/spec/template/spec/containers/0/args", value: ["y"]}\n',
                    },
                ],
            }
        )
    )
    service, broker = render(overlay)
    assert service["metadata"]["namespace"] == "two"
    assert service["metadata"]["annotations"] == {"a~b": "x"}
    assert service["spec"]["template"]["spec"]["containers"][0]["args"] == ["y"]
    assert service["spec"]["template"]["spec"]["containers"][0]["image"] == "mine/fn@sha256:" + "1" * 64
    assert broker["spec"] == {}
    assert [document["metadata"]["namespace"] for document in render(base)] == ["one", "one"]


@pytest.mark.parametrize(
    "kustomization",
    [
        {"helmCharts": []},
        {"resources": ["missing.yaml"]},
        {"patches": [{"patch": "apiVersion: v1\nkind: X\nmetadata: {name: x}\n"}]},
    ],
)
def test_what_the_renderer_does_not_understand(tmp_path: Path, kustomization: dict[str, Any]) -> None:
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    with pytest.raises(BadManifest):
        render(tmp_path)


def test_the_command(tmp_path: Path) -> None:
    good, bad, unreadable = (tmp_path / name for name in ("good.yaml", "bad.yaml", "unreadable.yaml"))
    good.write_text(yaml.safe_dump_all([SERVICE, BROKER, TRIGGER]))
    bad.write_text(yaml.safe_dump(changed(SERVICE, f"{POD}.containerConcurrency", 1001)))
    unreadable.write_text("a: 1\na: 1\n")
    run = CliRunner().invoke
    assert run(manifests, ["check", str(good)]).exit_code == 0
    result = run(manifests, ["check", "--json", str(good), str(bad), str(unreadable)])
    assert result.exit_code == 1
    verdicts = [json.loads(line) for line in result.output.splitlines()]
    assert [verdict["verdict"] for verdict in verdicts] == ["accepted"] * 3 + ["rejected"] * 2
    assert verdicts[3]["kind"] == "Service"
    assert verdicts[3]["findings"][0]["path"] == f"{POD}.containerConcurrency"
    alone = tmp_path / "alone.yaml"
    alone.write_text(yaml.safe_dump(TRIGGER))
    assert run(manifests, ["check", str(alone)]).exit_code == 0
    assert run(manifests, ["check", "--strict", str(alone)]).exit_code == 1
