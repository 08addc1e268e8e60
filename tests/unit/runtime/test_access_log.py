"""One line of JSON a request, with its CloudEvent, and never a secret."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace

import pytest
from gunicorn.config import Config

from perdura.runtime.access_log import AccessLog

ENVIRON = {
    "REQUEST_METHOD": "POST", "PATH_INFO": "/s3", "QUERY_STRING": "token=secret", "REMOTE_ADDR": "10.0.0.1",
    "HTTP_AUTHORIZATION": "Bearer secret", "HTTP_USER_AGENT": 'curl "\n{', "HTTP_CE_ID": "42", "HTTP_COOKIE": "secret",
}  # fmt: skip


def written(capsys: pytest.CaptureFixture[str], **changed: str) -> str:
    response = SimpleNamespace(status="204 No Content", sent=0)
    AccessLog(Config()).access(response, None, {**ENVIRON, **changed}, timedelta(milliseconds=12))
    return capsys.readouterr().err


def test_a_request_is_one_line_of_json_with_its_event(capsys: pytest.CaptureFixture[str]) -> None:
    text = written(capsys)
    assert text.count("\n") == 1
    told = json.loads(text)
    assert (told["method"], told["path"], told["status"], told["seconds"], told["event"]) == (
        "POST",
        "/s3",
        204,
        0.012,
        "42",
    )
    assert "secret" not in text


def test_probes_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    assert written(capsys, PATH_INFO="/healthz") == ""


def test_it_can_be_left_out(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCESS_LOG", "off")
    assert written(capsys) == ""
