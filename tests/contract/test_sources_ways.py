"""Harvests other than that of a plain record: folders, prefixes, light packages, landing pages, engines."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import bagit
import pytest

from perdura.errors import Broken, Rejected, UpstreamUnavailable
from perdura.outcome import Outcome, StepState
from perdura.packages.package import Verdict
from perdura.packages.sources import StoredPrefix
from perdura.packages.verify import verify
from perdura.settings import Settings
from perdura.sources.catalogue import Recognised
from perdura.sources.profile import profiles
from perdura.sources.resolve import preview
from perdura.sources.signposting import plan as signposted
from perdura.steps import harvest
from tests.processes import ended
from tests.shared_data import reference_data
from tests.unit.harvest.surroundings import Harvesting
from tests.upstreams.invenio import content_path, publish
from tests.upstreams.recorded import Recorded, client
from tests.upstreams.server import Reply, Upstream

DATA = b"column,value\n1,2\n" * 40


@pytest.fixture
def world() -> Harvesting:
    return Harvesting()


def run(world: Harvesting, url: str, **more: object) -> Outcome:
    return harvest.run(world.archive({"url": url, **more}), world.ports())


def unpacked(world: Harvesting, below: str, folder: Path) -> Path:
    for key in world.listing(below):
        target = folder / key.removeprefix(below)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(world.read(key))
    return folder


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "root" / "set"
        (folder / "sub").mkdir(parents=True)
        (folder / "empty").mkdir()
        (folder / "a.txt").write_bytes(b"a")
        (folder / "sub" / "50% é.csv").write_bytes(DATA)
        (folder / "zero").write_bytes(b"")
        (folder / "secret").symlink_to("/etc/passwd")
        os.mkfifo(folder / "pipe")
        return folder

    def settings(self, folder: Path) -> Settings:
        return Settings(harvest_local_roots=str(folder.parent))

    def test_becomes_a_sip(self, folder: Path, tmp_path: Path) -> None:
        world = Harvesting(settings=self.settings(folder))
        outcome = run(world, folder.as_uri())
        assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
        assert {(f.code, f.message) for f in outcome.findings} == {
            ("not-harvested", "empty: an empty folder"),
            ("not-harvested", "secret: a symbolic link"),
            ("not-harvested", "pipe: not a regular file"),
        }
        (package,) = outcome.packages
        assert verify(StoredPrefix(world.store, package.bucket, package.key)).verdict is Verdict.VALID
        assert world.read("sip/data/content/sub/50% é.csv") == DATA
        assert world.read("sip/data/content/zero") == b""
        everything = b"".join(world.read(key) for key in world.listing("sip/"))
        assert str(tmp_path).encode() not in everything

    def test_a_file_that_is_swapped_for_a_link_is_not_followed(self, folder: Path) -> None:
        from perdura.sources.folder import FolderOrigin, plan

        made = plan(folder, "local")
        (folder / "a.txt").unlink()
        (folder / "a.txt").symlink_to("/etc/passwd")
        with FolderOrigin(folder).stream(made.files[0].url) as stream:
            assert stream.status == 403

    @pytest.mark.parametrize("path", ["/etc", "/", "/nowhere"])
    def test_only_allowed_roots(self, folder: Path, path: str) -> None:
        world = Harvesting(settings=self.settings(folder))
        with pytest.raises(Rejected):
            run(world, f"file://{path}")

    def test_a_way_out_of_the_root_is_closed(self, folder: Path) -> None:
        (folder.parent / "link").symlink_to("/etc")
        world = Harvesting(settings=self.settings(folder))
        for path in (folder.parent / "link", folder / ".." / ".." / "etc"):
            with pytest.raises(Rejected):
                run(world, f"file://{path}")

    def test_nothing_is_allowed_without_the_setting(self, folder: Path, world: Harvesting) -> None:
        with pytest.raises(Rejected):
            run(world, folder.as_uri())


class TestPrefix:
    def test_becomes_a_sip(self, world: Harvesting) -> None:
        bucket = world.settings.bucket_incoming
        for key in ("sets/1/a.txt", "sets/1/sub/b c.txt", "sets/10/other.txt"):
            world.store.put(bucket, key, key.encode())
        outcome = run(world, f"s3://{bucket}/sets/1/")
        assert outcome.state is StepState.COMPLETED
        assert world.listing("sip/data/content/") == ["sip/data/content/a.txt", "sip/data/content/sub/b c.txt"]
        assert world.read("sip/data/content/sub/b c.txt") == b"sets/1/sub/b c.txt"

    @pytest.mark.parametrize("url", ["s3://perdura-aips/x", "s3://perdura-incoming/", "s3://perdura-incoming/none"])
    def test_what_is_not_harvested(self, world: Harvesting, url: str) -> None:
        with pytest.raises(Rejected):
            run(world, url)


class TestLight:
    def test_names_its_files_instead_of_holding_them(self, upstream: Upstream, world: Harvesting) -> None:
        url = publish(upstream, "rec-1", {"a b.txt": b"a", "50%.csv": DATA})
        outcome = run(world, url, light=True)
        assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
        assert not outcome.packages[0].accepted
        assert not any("/content" in path for path in upstream.paths())
        lines = world.read("light/fetch.txt").decode().splitlines()
        assert lines == [
            f"{upstream.base}{content_path('rec-1', 'a b.txt')} 1 data/content/a b.txt",
            f"{upstream.base}{content_path('rec-1', '50%.csv')} {len(DATA)} data/content/50%25.csv",
        ]
        manifests = [key for key in world.listing("light/") if key.startswith("light/manifest-")]
        assert manifests == ["light/manifest-md5.txt"]
        assert "data/content/a b.txt" in world.read(manifests[0]).decode()
        sip = json.loads(world.read("light/data/meta/sip.json"))
        assert sip["audit"][0]["tool"]["params"]["dry_run"] is True
        report = verify(StoredPrefix(world.store, world.settings.bucket_sips, outcome.packages[0].key))
        assert report.verdict is not Verdict.VALID

    def test_is_completed_by_a_harvest_of_the_same_archive(self, upstream: Upstream, world: Harvesting) -> None:
        url = publish(upstream, "rec-1", {"a.txt": b"a"})
        run(world, url, light=True)
        outcome = run(world, url)
        (package,) = outcome.packages
        assert verify(StoredPrefix(world.store, package.bucket, package.key)).verdict is Verdict.VALID

    def test_needs_a_checksum_of_every_file(self, upstream: Upstream, world: Harvesting) -> None:
        url = publish(upstream, "rec-1", {"a.txt": b"a"})
        listing = json.loads(upstream.routes["/api/records/rec-1/files"][0].body)
        listing["entries"][0]["checksum"] = "adler32:00620062"
        upstream.add("/api/records/rec-1/files", Reply(json.dumps(listing).encode()))
        with pytest.raises(Rejected) as caught:
            run(world, url, light=True)
        assert caught.value.code == "light-impossible"


def test_the_landing_page_is_kept_as_warc(upstream: Upstream, world: Harvesting) -> None:
    url = publish(upstream, "rec-1", {"a.txt": b"a"})
    page = b"<html><title>Record</title></html>"
    upstream.add("/records/rec-1", Reply(page, headers={"Content-Type": "text/html", "Set-Cookie": "s=top-secret"}))
    assert run(world, url, warc=True).state is StepState.COMPLETED
    warc = world.read("sip/data/meta/landing-page.warc")
    records = warc.split(b"WARC/1.1\r\n")[1:]
    assert [record.split(b"WARC-Type: ")[1].split(b"\r\n")[0] for record in records] == [
        b"warcinfo",
        b"response",
        b"request",
    ]
    for record in records:
        head, _, rest = record.partition(b"\r\n\r\n")
        length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
        assert rest[length:] == b"\r\n\r\n"
    assert page in records[1]
    assert b"top-secret" not in warc


def test_the_same_content_again_is_no_new_sip(upstream: Upstream, world: Harvesting) -> None:
    url = publish(upstream, "rec-1", {"a.txt": b"a"})
    fingerprint = run(world, url).output["fingerprint"]
    again = Harvesting()
    outcome = run(again, url, known=fingerprint)
    assert (outcome.state, outcome.error_code) == (StepState.CANCELLED, "unchanged")
    assert not outcome.packages
    assert len(outcome.events) == 1
    publish(upstream, "rec-1", {"a.txt": b"b"}, revision=2)
    assert run(Harvesting(), url, known=fingerprint).state is StepState.COMPLETED


def test_a_preview_fetches_nothing(upstream: Upstream) -> None:
    url = publish(upstream, "rec-1", {"a.txt": b"a", "b.txt": b"bb"})
    plan = preview(url, Settings(allow_loopback_upstreams=True))
    assert (plan.source, plan.recid, plan.title, plan.size) == ("demo", "rec-1", "Record rec-1", 3)
    assert not any("/content" in path for path in upstream.paths())


def test_signposting_gives_page_descriptions_and_files() -> None:
    settings = Settings(harvest_open=True)
    page = "https://data.example.net/set/7"
    link = (
        f'<https://doi.org/10.1/7> ; rel="cite-as" , <{page}.json> ; rel="describedby" ; type="application/ld+json" , '
        f'<{page}/files/sub/a.csv> ; rel="item" ; type="text/csv" , <https://elsewhere.net/b> ; rel="item"'
    )
    recording = Recorded(
        [
            {"url": page, "status": 200, "headers": {"Link": link}, "body": "<title>Set 7 &amp; more</title>"},
            {"url": f"{page}.json", "status": 200, "body": "{}"},
        ]
    )
    record = Recognised(profiles(settings)["signposting"], page, "https://data.example.net", page)
    with client(record, recording, settings) as http:
        plan = signposted(record, http)
    assert plan.title == "Set 7 & more"
    assert [(file.key, file.media_type) for file in plan.files] == [("sub/a.csv", "text/csv")]
    assert [skipped.key for skipped in plan.skipped] == ["b"]
    assert [capture.name for capture in plan.captures] == ["landing-page.html", "metadata-ld-json.json"]


FAKE_BIC = """#!{python}
import os, sys, zipfile
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
with zipfile.ZipFile({bag!r}) as archive:
    name = archive.namelist()[0].split("/")[0]
    archive.extractall(arguments["--target"])
print("Job result: {{'status': {status}, 'errormsg': None, 'foldername': '%s'}}" % name)
"""


class TestBagitCreate:
    """A program that answers as bagit-create did when its packages were recorded."""

    def program(self, tmp_path: Path, case: str, status: int = 0) -> Settings:
        bag = str(reference_data("sip-samples", "bags", f"{case}.zip"))
        program = tmp_path / "bic"
        program.write_text(FAKE_BIC.format(python=sys.executable, bag=bag, status=status))
        program.chmod(0o755)
        return Settings(harvest_bic=str(program))

    def harvest(self, settings: Settings) -> tuple[Harvesting, Outcome]:
        world = Harvesting(settings=settings)
        return world, run(world, "https://zenodo.org/records/3911261", engine="bagit-create")

    def test_its_package_is_kept_as_it_is(self, tmp_path: Path) -> None:
        world, outcome = self.harvest(self.program(tmp_path, "zenodo"))
        assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
        (package,) = outcome.packages
        folder = unpacked(world, package.key.partition("/")[2], tmp_path / "out")
        assert (folder / "data/content/thesis.pdf").read_bytes() == b"%PDF-1.4 hello thesis\n"
        assert bagit.Bag(str(folder)).is_valid()
        assert str(outcome.output["name"]).startswith("sip::zenodo::3911261::")

    @pytest.mark.parametrize("case", ["zenodo-badsum", "cod", "zenodo-light", "indico-404file"])
    def test_what_it_calls_success_is_judged_again(self, tmp_path: Path, case: str) -> None:
        world, outcome = self.harvest(self.program(tmp_path, case))
        assert outcome.state is StepState.FAILED
        assert outcome.findings
        assert not world.listing()

    def test_its_failures_are_tried_again(self, tmp_path: Path) -> None:
        with pytest.raises(UpstreamUnavailable):
            self.harvest(self.program(tmp_path, "zenodo", status=1))

    def test_children_that_outlive_it_are_ended(self, tmp_path: Path) -> None:
        settings, pid = self.program(tmp_path, "zenodo"), tmp_path / "child"
        leaving = f"import subprocess\nopen({str(pid)!r}, 'w').write(str(subprocess.Popen(['sleep', '600']).pid))\n"
        program = tmp_path / "bic"
        program.write_text(program.read_text() + leaving)
        _, outcome = self.harvest(settings)
        assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
        assert ended(int(pid.read_text()))

    @pytest.mark.parametrize(
        "said",
        [
            "Exception('Metadata request gave HTTP 404.')",
            "RecidException('Wrong recid')",
            "Exception('Note not found (404)')",
        ],
    )
    def test_failures_that_will_stay_are_told_to_the_user_at_once(self, tmp_path: Path, said: str) -> None:
        settings = self.program(tmp_path, "zenodo", status=1)
        program = tmp_path / "bic"
        program.write_text(program.read_text().replace("None", said.replace("'", "\\'")))
        with pytest.raises(Rejected) as caught:
            self.harvest(settings)
        assert caught.value.code == "engine-refused"
        assert said.split("(")[1][1:8] in caught.value.message

    @pytest.mark.parametrize("said", ["Exception('Metadata request gave HTTP 503.')", "ConnectionError('no route')"])
    def test_failures_that_may_pass_are_tried_again(self, tmp_path: Path, said: str) -> None:
        settings = self.program(tmp_path, "zenodo", status=1)
        program = tmp_path / "bic"
        program.write_text(program.read_text().replace("None", said.replace("'", "\\'")))
        with pytest.raises(UpstreamUnavailable):
            self.harvest(settings)

    def test_where_it_is_not_installed_a_person_has_to_look(self) -> None:
        with pytest.raises(Broken):
            self.harvest(Settings())

    def test_sources_that_need_a_token_are_not_given_to_it(self, tmp_path: Path) -> None:
        world = Harvesting(settings=self.program(tmp_path, "gitlab"))
        given = {"source": "gitlab", "recid": "1", "engine": "bagit-create"}
        with pytest.raises(Rejected):
            harvest.run(world.archive(given), world.ports())
