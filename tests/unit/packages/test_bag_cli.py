"""`perdura bag`: exit status, JSON and what it writes."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from perdura.bag_cli import bag
from perdura.packages.limits import Limits
from perdura.packages.make import plan_bag
from perdura.packages.rules import PackageRejected
from perdura.packages.sources import StoredPrefix, bucket_and_key
from perdura.storage.memory import MemoryStore
from tests.corpus.tree import as_directory, as_zip
from tests.corpus.tree import bag as small_bag


def run(*arguments: str) -> Result:
    return CliRunner().invoke(bag, arguments)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "empty").mkdir()
    (source / "a.txt").write_text("hello")
    (source / "sub/100%.txt").write_text("there")
    return source


@pytest.mark.parametrize("target", ["out.tar", "out.zip", "out"])
def test_what_is_made_is_valid(folder: Path, tmp_path: Path, target: str) -> None:
    made = run("make", str(folder), str(tmp_path / target), "-i", "Title=A title")
    assert made.exit_code == 0, made.output
    result = run("verify", "--json", str(tmp_path / target))
    report = json.loads(result.output)
    assert result.exit_code == 0
    assert report["verdict"] == "valid"
    assert report["payload"] == {"files": 3, "bytes": 10}
    assert ["Title", "A title"] in report["facts"]["bag_info"]
    assert not list(tmp_path.glob("*.part"))


def test_making_twice_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        run("make", str(folder), str(tmp_path / name / "bag.tar"), "-i", "Bagging-Date=2020-01-01")
    assert (tmp_path / "one/bag.tar").read_bytes() == (tmp_path / "two/bag.tar").read_bytes()


def test_nothing_is_overwritten(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert run("make", str(folder), str(tmp_path / "out")).exit_code == 3


@pytest.mark.parametrize("name", ["out.tar", "out.zip", "out.tar.part", "out.zip.part"])
def test_no_file_is_overwritten_or_removed(folder: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("somebody's")
    assert run("make", str(folder), str(tmp_path / name.removesuffix(".part"))).exit_code == 3
    assert (tmp_path / name).read_text() == "somebody's"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("out")] == [name]


def test_a_file_system_without_links_gets_its_bag_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def linkless(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", linkless)
    assert run("make", str(folder), str(tmp_path / "out.zip")).exit_code == 0
    assert run("verify", str(tmp_path / "out.zip")).exit_code == 0
    assert run("make", str(folder), str(tmp_path / "out.zip")).exit_code == 3
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("out")] == ["out.zip"]


@pytest.mark.parametrize("name", ["out.tar.gz", "out.tgz", "out.TAR.XZ", "out.7z"])
def test_no_folder_is_made_that_looks_like_an_archive(folder: Path, tmp_path: Path, name: str) -> None:
    made = run("make", str(folder), str(tmp_path / name))
    assert (made.exit_code, "unknown-target" in made.output) == (3, True)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("name", "code"), [("...tar", "name-unsafe"), ("a\\b.zip", "name-unsafe"), ("C:.tar", "name-unsafe")]
)
def test_no_bag_is_made_in_a_folder_for_which_it_would_be_refused(
    folder: Path, tmp_path: Path, name: str, code: str
) -> None:
    made = run("make", str(folder), str(tmp_path / name))
    assert (made.exit_code, code in made.output, (tmp_path / name).exists()) == (3, True, False)


def test_no_bag_is_made_whose_paths_would_be_refused_for_their_length(folder: Path, tmp_path: Path) -> None:
    deep = folder / "/".join(["d" * 200] * 4)
    deep.mkdir(parents=True)
    (deep / ("f" * 91)).write_text("x")
    assert run("make", str(folder), str(tmp_path / "out")).exit_code == 0
    assert run("verify", str(tmp_path / "out")).exit_code == 0
    made = run("make", str(folder), str(tmp_path / "out.tar"))
    assert (made.exit_code, f"name-too-long: out/data/{'d' * 200}" in made.output) == (3, True)


def test_no_bag_is_made_of_more_files_than_a_bag_may_have() -> None:
    store = MemoryStore()
    for name in "abcd":
        store.put("s", f"tree/{name}", b"")
    source = StoredPrefix(store, "s", "tree/")
    assert plan_bag(source, algorithms=("sha256",), limits=Limits(members=8)).files == 4
    with pytest.raises(PackageRejected) as caught:
        plan_bag(source, algorithms=("sha256",), limits=Limits(members=7))
    assert caught.value.code == "limit-members"


def test_what_cannot_be_written_is_no_verdict(folder: Path, tmp_path: Path) -> None:
    made = run("make", str(folder), str(tmp_path / "nowhere/out.tar"))
    assert (made.exit_code, made.exception.__class__) == (3, SystemExit)
    (tmp_path / "bag.zip").write_bytes(as_zip(small_bag()))
    result = run("verify", "--html", str(tmp_path / "nowhere/report.html"), str(tmp_path / "bag.zip"))
    assert (result.exit_code, result.exception.__class__) == (3, SystemExit)
    assert "nowhere/report.html" in result.output


def test_status_says_the_verdict(tmp_path: Path) -> None:
    cases = {0: as_zip(small_bag()), 1: as_zip(small_bag() | {"data/hello.txt": b"x"}), 2: b"no package"}
    for status, data in cases.items():
        (tmp_path / "bag.zip").write_bytes(data)
        assert run("verify", str(tmp_path / "bag.zip")).exit_code == status


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nowhere",),
        ("n" * 300,),
        ("s3://[nowhere/bag.zip",),
        ("s3:///bag.zip",),
        ("--limit", "nothing=1", "x"),
        ("--profile", "nowhere", "x"),
    ],
)
def test_status_3_is_for_what_could_not_be_read(arguments: tuple[str, ...]) -> None:
    result = run("verify", *arguments)
    assert (result.exit_code, result.exception.__class__) == (3, SystemExit)
    assert "not-written" not in result.output


def test_status_3_is_for_calls_that_are_none() -> None:
    assert run("verfy", "x").exit_code == 3


def test_who_stops_it_gets_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "bag.zip").write_bytes(as_zip(small_bag()))
    monkeypatch.setattr("perdura.packages.verify.verify", stopped)
    assert run("verify", str(tmp_path / "bag.zip")).exit_code == 3


def test_names_that_the_terminal_does_not_know_are_shown_as_escapes(tmp_path: Path) -> None:
    folder = as_directory(small_bag() | {"data/\u4e2d.txt": b"x"}, tmp_path / "bag")
    for arguments, expected in (((), b"data/\\u4e2d.txt"), (("--json",), "data/\u4e2d.txt".encode())):
        done = subprocess.run(
            [sys.executable, "-m", "perdura.cli", "bag", "verify", *arguments, str(folder)],
            env={**os.environ, "PYTHONIOENCODING": "latin-1"},
            capture_output=True,
        )
        assert (done.returncode, done.stderr) == (1, b"")
        assert expected in done.stdout


def test_an_object_is_named_as_it_is_called() -> None:
    assert bucket_and_key("s3://b/a?b#c%20/d.zip") == ("b", "a?b#c%20/d.zip")
    assert bucket_and_key("s3://b") == ("b", "")


def test_findings_have_code_place_and_clause(tmp_path: Path) -> None:
    folder = as_directory(small_bag() | {"data/hello.txt": b"other\n"}, tmp_path / "bag")
    report = json.loads(run("verify", "--json", str(folder)).output)
    assert report["verdict"] == "invalid"
    (finding,) = report["findings"]
    assert {"code", "severity", "path", "message", "clause"} <= finding.keys()
    assert (finding["code"], finding["path"]) == ("checksum-mismatch", "data/hello.txt")


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    folder = as_directory(small_bag({"data/\x1b[31mred\u202e": b"x"}), tmp_path / "bag")
    output = run("verify", str(folder)).output
    assert "\x1b[31m" not in output
    assert "\\u{1b}[31mred\\u{202e}" in output


def test_a_profile_of_a_stranger_reaches_the_terminal_as_text(tmp_path: Path) -> None:
    about = {"BagIt-Profile-Identifier": "x\x1b[2J", "External-Description": "\u202ey\x9b31m"}
    profile = {"BagIt-Profile-Info": about, "Accept-BagIt-Version": ["1.0"]}
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    assert run("profile", str(tmp_path / "profile.json")).output == "x\\u{1b}[2J\n    \\u{202e}y\\u{9b}31m\n"


def test_half_of_a_surrogate_pair_ends_no_report(tmp_path: Path) -> None:
    sip = b'{"source": "\\ud800", "contentFiles": [{"bagpath": "data/content/\\ud800"}], "\\udfff": "\\u0000"}'
    (tmp_path / "bag.zip").write_bytes(as_zip(small_bag({"data/meta/sip.json": sip})))
    for arguments in (["--json"], [], ["--html", str(tmp_path / "report.html")]):
        result = run("verify", *arguments, str(tmp_path / "bag.zip"))
        assert (result.exit_code, result.exception.__class__) == (1, SystemExit)
    assert json.loads(run("verify", "--json", str(tmp_path / "bag.zip")).output)["facts"]["sip"]["source"] == "\ufffd"


def test_limits_and_profiles_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "bag.zip").write_bytes(as_zip(small_bag()))
    assert run("verify", "--limit", "members=2", str(tmp_path / "bag.zip")).exit_code == 2
    profile = {
        "BagIt-Profile-Info": {"BagIt-Profile-Identifier": "x"},
        "Accept-BagIt-Version": ["1.0"],
        "Manifests-Required": ["sha512"],
    }
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    assert run("verify", "--profile", str(tmp_path / "profile.json"), str(tmp_path / "bag.zip")).exit_code == 1
    assert run("profile", str(tmp_path / "profile.json")).exit_code == 0
    (tmp_path / "profile.json").write_text(json.dumps(profile | {"Unheard-Of": True}))
    assert run("profile", str(tmp_path / "profile.json")).exit_code == 3


def test_installed_profiles_are_listed() -> None:
    assert "cern-sip" in run("profile").output


def test_a_local_bag_is_verified_without_heavy_imports(tmp_path: Path) -> None:
    (tmp_path / "bag.zip").write_bytes(as_zip(small_bag()))
    code = (
        "import sys\nfrom perdura.bag_cli import bag\n"
        "try: bag(['verify', sys.argv[1]])\nexcept SystemExit: pass\n"
        "print([m for m in ('boto3', 'pydantic', 'rich', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "bag.zip")], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done
