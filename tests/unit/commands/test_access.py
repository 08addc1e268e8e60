"""Commands about access: what they send, and that nothing is withdrawn without being asked back."""

from __future__ import annotations

import json

import pytest

from tests.unit.commands.conftest import Run
from tests.unit.commands.fake_registry import FakeRegistry


def test_a_withdrawal_is_asked_back_and_sent_with_its_reason(run: Run, registry: FakeRegistry) -> None:
    registry.on("POST /api/v1/archives/a1/withdrawal", (202, {"archive": "a1", "steps": ["s1"], "links": {}}))
    given = ("access", "withdraw", "a1", "--reason", "retracted", "--note", "by its author", "--tell-source")
    assert run(*given).exit_code == 1
    assert registry.sent("POST", "/api/v1/archives/a1/withdrawal") == []
    assert "step s1 of a1" in run(*given, "--yes").output
    (sent,) = registry.sent("POST", "/api/v1/archives/a1/withdrawal")
    assert json.loads(sent) == {"reason": "retracted", "note": "by its author", "tell_source": True}
    assert run("access", "withdraw", "a1", "--reason", "whim", "--yes").exit_code == 2


def test_an_archive_is_published_again(run: Run, registry: FakeRegistry) -> None:
    registry.on("POST /api/v1/archives/a1/publication", (202, {"archive": "a1", "steps": ["s1"], "links": {}}))
    assert "step s1 of a1" in run("access", "publish", "a1", "--after-withdrawal").output
    sent = {"after_withdrawal": True, "although_earlier_withdrawn": False}
    assert json.loads(registry.sent("POST", "/api/v1/archives/a1/publication")[0]) == sent


@pytest.mark.parametrize(("given", "until"), [("2030-01-01", "2030-01-01"), ("none", None)])
def test_an_embargo_is_set_and_lifted(run: Run, registry: FakeRegistry, given: str, until: str | None) -> None:
    answer = {"archive": "a1", "until": until, "published": [], "steps": []}
    registry.on("PUT /api/v1/archives/a1/embargo", (200, answer))
    assert (until or "no embargo") in run("access", "embargo", "a1", given).output
    assert json.loads(registry.sent("PUT", "/api/v1/archives/a1/embargo")[0]) == {"until": until}


ELSEWHERE = ["https://zenodo.test/records/1"]


@pytest.mark.parametrize(
    ("command", "path", "said"),
    [
        (("restrict", "a1"), "restriction", {"restricted": True}),
        (("open", "a1"), "restriction", {"restricted": False}),
        (("embargo", "a1", "2030-01-01"), "embargo", {"until": "2030-01-01"}),
    ],
)
@pytest.mark.parametrize(
    ("published", "steps", "told"),
    [
        (ELSEWHERE, ["s1"], "shown as before at https://zenodo.test/records/1 until step s1 is done\n"),
        ([], ["s1"], "shown as before at access systems of others until step s1 is done\n"),
        (ELSEWHERE, [], ""),
    ],
)
def test_what_is_decided_says_until_when_others_show_it_as_before(
    run: Run,
    registry: FakeRegistry,
    command: tuple[str, ...],
    path: str,
    said: dict[str, object],
    published: list[str],
    steps: list[str],
    told: str,
) -> None:
    registry.on(
        f"PUT /api/v1/archives/a1/{path}", (200, {"archive": "a1", **said, "published": published, "steps": steps})
    )
    done = run("access", *command)
    assert (done.exit_code, done.stderr) == (0, told)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ((), {"thing": "zip", "hours": 24.0}),
        (("--aip", "--hours", "1"), {"thing": "aip", "hours": 1.0}),
        (("--file", "data/a.txt"), {"thing": "file", "path": "data/a.txt", "hours": 24.0}),
    ],
)
def test_a_link_is_made(run: Run, registry: FakeRegistry, options: tuple[str, ...], wanted: dict[str, object]) -> None:
    registry.on("POST /api/v1/archives/a1/passes", (201, {"url": "https://x.test/z", "expires_at": "2026-12-01"}))
    assert run("access", "link", "a1", *options).output.strip() == "https://x.test/z"
    assert json.loads(registry.sent("POST", "/api/v1/archives/a1/passes")[0]) == wanted


def test_a_source_is_told_again(run: Run, registry: FakeRegistry) -> None:
    registry.on("POST /api/v1/archives/a1/notifications", (202, {"archive": "a1", "steps": ["s", "t"], "links": {}}))
    assert "2 to be told" in run("access", "notify", "a1", "P").output
