from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from perdura.cli import COMMANDS, main
from perdura.local import state
from perdura.local.diagnosis import Level, diagnose


def test_help_lists_every_command_without_importing_one() -> None:
    code = "import sys; sys.argv[1:] = ['--help']; import perdura.cli as c\ntry: c.main()\nfinally: print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    listing, _, modules = output.rpartition("\n\n")
    *_, modules = output.splitlines()
    assert all(f"  {name} " in listing or f"  {name} " in output for name in COMMANDS)
    heavy = {"httpx", "rich", "pydantic", "sqlalchemy", "boto3", "asyncio"}
    assert not heavy & set(modules.split())


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_exists_and_explains_itself(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output


def test_an_unknown_command_is_a_usage_error() -> None:
    assert CliRunner().invoke(main, ["frobnicate"]).exit_code == 2


def test_the_version_is_shown() -> None:
    assert CliRunner().invoke(main, ["--version"]).output.startswith("perdura 0.")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert "_PERDURA_COMPLETE" in result.output


def test_status_of_nothing_is_stopped_and_makes_nothing(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--home", str(tmp_path / "none"), "status", "--json"])
    assert result.exit_code == 3
    assert json.loads(result.output) == {"state": "stopped", "reason": None, "urls": {}, "processes": []}
    assert not (tmp_path / "none").exists()


def test_down_of_nothing_is_fine(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--home", str(tmp_path / "none"), "down"])
    assert (result.exit_code, result.output) == (0, "nothing runs\n")


def test_there_is_no_token_before_the_first_start(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["--home", str(tmp_path), "token"]).exit_code == 1
    secret = state.open_home(tmp_path).secret("admin-token")
    assert CliRunner().invoke(main, ["--home", str(tmp_path), "token"]).output == f"{secret}\n"


def test_reset_removes_only_what_is_ours(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    result = CliRunner().invoke(main, ["--home", str(tmp_path / "mine"), "reset", "--yes"])
    assert (result.exit_code, (tmp_path / "mine").exists()) == (1, True)
    home = state.open_home(tmp_path / "home")
    state.remember(home, {}, home.root / "run")
    assert CliRunner().invoke(main, ["--home", str(home.root), "reset"], input="n\n").exit_code == 1
    assert home.root.exists()
    assert CliRunner().invoke(main, ["--home", str(home.root), "reset", "--yes"]).exit_code == 0
    assert not home.root.exists()


def test_logs_are_shown_by_name(tmp_path: Path) -> None:
    home = state.open_home(tmp_path)
    home.log("ingest").write_text("".join(f"line {n}\n" for n in range(100)))
    result = CliRunner().invoke(main, ["--home", str(tmp_path), "logs", "ingest", "-n", "2"])
    assert result.output == "line 98\nline 99\n"
    unknown = CliRunner().invoke(main, ["--home", str(tmp_path), "logs", "nothing"])
    assert (unknown.exit_code, "there are: ingest" in unknown.output) == (2, True)


def test_a_home_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(main, ["--home", str(tmp_path / "file" / "home"), "up"])
    assert result.exit_code == 1
    assert "cannot be used as state directory" in result.output


def test_the_doctor_says_what_is_missing(tmp_path: Path) -> None:
    environ = {"PERDURA_WEED_BIN": "/nowhere", "PATH": "/nowhere"}
    found = {diagnosis.subject: diagnosis for diagnosis in diagnose(tmp_path / "home", environ)}
    assert found["state directory"].level is Level.FINE
    assert not (tmp_path / "home").exists()
    assert all(diagnosis.remedy for diagnosis in found.values() if diagnosis.level is not Level.FINE)


def test_the_doctor_leaves_existing_services_alone(tmp_path: Path) -> None:
    environ = {"PERDURA_DATABASE_URL": "postgresql+pg8000://x", "PERDURA_S3_ENDPOINT": "https://s3.example.org"}
    found = {diagnosis.subject: diagnosis for diagnosis in diagnose(tmp_path, environ)}
    assert "PERDURA_DATABASE_URL" in found["database"].found
    assert "https://s3.example.org" in found["object store"].found


@pytest.mark.parametrize(
    ("environ", "level"),
    [
        ({}, Level.FINE),
        ({"FUNCTION": "ingest"}, Level.WARNING),
        ({"FUNCTION": "ingest", "PERDURA_EVENTS_TOKEN": ""}, Level.WARNING),
        ({"FUNCTION": "ingest", "PERDURA_EVENTS_TOKEN": "t"}, Level.FINE),
        ({"FUNCTION": "publish", "PERDURA_TAKES_EVENTS": "false"}, Level.FINE),
        ({"FUNCTION": "ingest", "K_SERVICE": "ingest"}, Level.FINE),
    ],
)  # fmt: skip
def test_the_doctor_warns_where_strangers_may_send_events(
    tmp_path: Path, environ: dict[str, str], level: Level
) -> None:
    [found] = [each for each in diagnose(tmp_path, environ) if each.subject == "events of strangers"]
    assert found.level is level
    assert (level is Level.FINE) == (not found.remedy)


def test_the_doctor_fails_where_a_home_is_of_a_newer_version(tmp_path: Path) -> None:
    state.open_home(tmp_path).state_file.write_text('{"version": 99}')
    result = CliRunner().invoke(main, ["--home", str(tmp_path), "doctor", "--json"])
    assert result.exit_code == 1
    levels = {line["subject"]: line["level"] for line in json.loads(result.output)}
    assert levels["state directory"] == "failure"


@pytest.mark.parametrize(
    ("words", "offered"),
    [(["perdura", "arch"], "archives"), (["perdura", "archives", "sh"], "show"),
     (["perdura", "schedule", "re"], "resume"),
     (["perdura", "deposit", "--re"], "--resume"), (["perdura", "jobs", "begin", "ret"], "retry")],
)  # fmt: skip
def test_a_shell_completes_commands_options_and_choices(words: list[str], offered: str) -> None:
    environment = {
        **os.environ, "_PERDURA_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }  # fmt: skip
    code = "import perdura.cli; perdura.cli.main(prog_name='perdura')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert offered in [line.partition(",")[2] for line in done.stdout.splitlines()]
