"""Every source planned from recorded answers (shared/reference/data/upstreams, sip-samples/upstream-answers.json)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from perdura.clients.http import UpstreamRefused
from perdura.settings import Settings
from perdura.sources import doi, oai
from perdura.sources.catalogue import by_id, recognise
from perdura.sources.plan import Moved, Plan, Preparing, from_json, to_json
from perdura.sources.protocols import PLANNERS
from tests.shared_data import reference_data
from tests.upstreams.recorded import Recorded, client

SETTINGS = Settings()
RDM = "https://repository.cern"


def recorded_exchanges() -> list[dict[str, Any]]:
    """The answers behind bagit-create's recorded runs."""
    answers = json.loads(reference_data("sip-samples", "upstream-answers.json").read_text())
    for answer in answers:
        if "body_note" in answer:
            answer["body"] = b"x" * 65536
    return list(answers)


def answer(url: str, body: bytes | str, status: int = 200, **headers: str) -> dict[str, Any]:
    return {"url": url, "status": status, "body": body, "headers": headers}


def planned(source: str, recid: str, recording: Recorded) -> Plan:
    record = by_id(source, recid, SETTINGS)
    with client(record, recording, SETTINGS) as http:
        plan = PLANNERS[record.profile.protocol](record, http)
    written = to_json(plan)
    assert to_json(from_json(written)) == written
    return plan


def files(plan: Plan) -> dict[str, tuple[int | None, Mapping[str, str]]]:
    return {file.path.removeprefix("data/content/"): (file.size, file.checksums) for file in plan.files}


def sample(*parts: str) -> bytes:
    return reference_data("upstreams", *parts).read_bytes()


class TestInvenio:
    def test_zenodo_as_recorded_for_bagit_create(self) -> None:
        recording = Recorded(recorded_exchanges())
        plan = planned("zenodo", "3911261", recording)
        assert files(plan) == {
            "thesis.pdf": (22, {"md5": "6b3601a0a717fb5129b2d9ce3d8c5fe9"}),
            "data table.csv": (16, {"md5": "52521b55a4d78f32df1f3b4c233de9ee"}),
            "a:b?.txt": (16, {"md5": "52521b55a4d78f32df1f3b4c233de9ee"}),
        }
        assert [url for _, url in recording.asked] == [
            "https://zenodo.org/api/records/3911261",
            "https://zenodo.org/api/records/3911261/files",
        ]

    def test_zenodo_in_its_legacy_shape_with_files_inline(self) -> None:
        body = sample("zenodo", "8173303.json")
        recording = Recorded([answer("https://zenodo.org/api/records/8173303", body)])
        plan = planned("zenodo", "8173303", recording)
        assert files(plan) == {
            "20230711-CERN-NASA-Open-Science-Summit-Summary-Drawings.pdf": (
                13994803,
                {"md5": "45d8b11d4ef0da78b9db5397d8e0e8d9"},
            )
        }
        assert (plan.recid, plan.parent, plan.revision) == (
            "8173303",
            "8173302",
            "8/2025-01-22T19:42:46.763514+00:00",
        )
        assert plan.metadata["creators"] == ["Exemplar43, Given43"]

    def test_inveniordm_14(self) -> None:
        record = sample("inveniordm", "v14-record.json").replace(b"https://rdm.test", RDM.encode())
        listing = sample("inveniordm", "v14-files.json").replace(b"https://rdm.test", RDM.encode())
        recording = Recorded(
            [
                answer(f"{RDM}/api/records/18hms-pp478", record),
                answer(f"{RDM}/api/records/18hms-pp478/files", listing),
            ]
        )
        plan = planned("cds-rdm", "18hms-pp478", recording)
        assert files(plan) == {
            "data.bin": (25600, {"md5": "c73a756d7c65cb6991030bff87439016"}),
            "sub/readme.txt": (2, {"md5": "49f68a5c8493ec2c0bf489821c21fc3b"}),
        }
        assert (plan.title, plan.parent, plan.restricted) == ("Formats", "x1589-3pc52", False)
        assert plan.captures[0].body == record

    def test_cds_videos(self) -> None:
        plan = planned("cds-videos", "9", Recorded(recorded_exchanges()))
        assert files(plan) == {"v.mp4": (65536, {"md5": "598bf98d5c865461aef3eaa8d95a0fd9"})}
        assert plan.files[0].url == "https://videos.cern.ch/api/files/b/v.mp4"


class TestMarcXml:
    def test_cds_as_recorded_for_bagit_create(self) -> None:
        plan = planned("cds", "2728246", Recorded(recorded_exchanges()))
        assert files(plan) == {"CERN-THESIS-2020-092.pdf": (22, {}), "missing.pdf": (5, {})}
        assert plan.title == "Title"

    def test_shares_and_previews_are_no_files(self) -> None:
        plan = planned("cds", "856", Recorded(recorded_exchanges()))
        assert list(files(plan)) == ["big.log"]
        assert [skipped.reason for skipped in plan.skipped] == [
            "not an http address",
            "a preview image of another file",
        ]

    def test_a_record_that_moved_is_another_source(self) -> None:
        with pytest.raises(Moved) as caught:
            planned("cds", "302", Recorded(recorded_exchanges()))
        assert recognise(caught.value.url, SETTINGS).source == "cds-rdm"

    def test_photo(self) -> None:
        recording = Recorded([answer("https://cds.cern.ch/record/1782445?of=xm", sample("cds", "1782445-photo.xml"))])
        plan = planned("cds", "1782445", recording)
        assert files(plan) == {"70-9-479.jpg": (1770303, {})}
        assert plan.files[0].url == "https://cds.cern.ch/record/1782445/files/70-9-479.jpg"
        assert (len(plan.skipped), plan.revision) == (3, "20150925091440.0")

    def test_video_with_white_space_around_addresses(self) -> None:
        recording = Recorded([answer("https://cds.cern.ch/record/2272973?of=xm", sample("cds", "2272973-video.xml"))])
        plan = planned("cds", "2272973", recording)
        assert all(file.url == file.url.strip() for file in plan.files)
        assert any(file.url.startswith("http://mediaarchive.cern.ch/") for file in plan.files)
        assert "not an http address" in {skipped.reason for skipped in plan.skipped}
        assert plan.restricted

    def test_a_record_that_is_not_well_formed_is_read_with_a_warning(self) -> None:
        body = sample("cds", "2631308-book.malformed.xml")
        plan = planned("cds", "2631308", Recorded([answer("https://cds.cern.ch/record/2631308?of=xm", body)]))
        assert plan.warnings
        assert plan.captures[0].body == body

    def test_a_document_type_is_refused(self) -> None:
        bomb = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><collection><record>&a;</record></collection>'
        with pytest.raises(UpstreamRefused):
            planned("cds", "1", Recorded([answer("https://cds.cern.ch/record/1?of=xm", bomb)]))

    def test_declared_checksums(self) -> None:
        body = (
            b'<record><datafield tag="856" ind1="4" ind2=" "><subfield code="u">https://cds.cern.ch/record/1/files/a</subfield>'
            b'<subfield code="w">(CERN:MD5;6B3601A0A717FB5129B2D9CE3D8C5FE9)</subfield></datafield></record>'
        )
        plan = planned("cds", "1", Recorded([answer("https://cds.cern.ch/record/1?of=xm", body)]))
        assert files(plan) == {"a": (None, {"md5": "6b3601a0a717fb5129b2d9ce3d8c5fe9"})}


class TestOpenData:
    def test_every_file_and_every_index(self) -> None:
        plan = planned("cod", "2", secure(Recorded, recorded_exchanges()))
        assert files(plan) == {
            "x.root": (22, {"adler32": "45c006ae"}),
            "set_file_index.json": (120, {"adler32": "317c04ec"}),
            "y.root": (16, {"adler32": "317c04ec"}),
            "set_file_index.txt": (60, {"adler32": "317c04ec"}),
            "notes.pdf": (22, {"adler32": "45c006ae"}),
        }
        assert plan.files[0].url == "https://opendata.cern.ch/eos/opendata/x.root"

    def test_indices_inline(self) -> None:
        value = {
            "metadata": {
                "title": "t",
                "_file_indices": [{"files": [{"key": "a", "size": 1, "uri": "root://eospublic.cern.ch//eos/a"}]}],
            }
        }
        plan = planned("cod", "7", Recorded([answer("https://opendata.cern.ch/api/records/7", json.dumps(value))]))
        assert list(files(plan)) == ["a"]

    def test_a_record_as_the_portal_keeps_it(self) -> None:
        metadata = json.loads(sample("cod", "cms-pileup-configuration-files.json"))[0]
        body = json.dumps({"id": "3600", "metadata": metadata})
        plan = planned("cod", "3600", Recorded([answer("https://opendata.cern.ch/api/records/3600", body)]))
        assert files(plan) == {"mix_2011_FinalDist_OOTPU_cfi.py": (3418, {"adler32": "11ce0f5e"})}
        assert plan.metadata["creators"] == ["CMS collaboration"]


def secure(kind: type[Recorded], answers: list[dict[str, Any]]) -> Recorded:
    """A recording of plain http as if it were https."""
    return kind([{**a, "url": a["url"].replace("http://", "https://")} for a in answers])


INDICO = "https://indico.cern.ch/export/event/{}.json?detail={}&occ=yes&pretty=yes"


def indico_answers(recid: str, body: bytes | str) -> Recorded:
    return Recorded([answer(INDICO.format(recid, detail), body) for detail in ("subcontributions", "sessions")])


class TestIndico:
    def test_attachments_of_one_name_and_links(self) -> None:
        body = next(a["body"] for a in recorded_exchanges() if "event/1024767.json" in a["url"])
        plan = planned("indico", "1024767", indico_answers("1024767", json.dumps(body)))
        assert list(files(plan)) == ["slides.pdf", "slides_2.pdf"]
        assert [skipped.reason for skipped in plan.skipped] == ["a link, not a file"]

    def test_an_event_as_found(self) -> None:
        plan = planned("indico", "1024767", indico_answers("1024767", sample("indico", "event-1024767.json")))
        assert plan.title == "Documentation Project checkpoint meeting"
        assert plan.restricted
        assert all(file.size for file in plan.files)

    def test_not_found_although_the_status_is_200(self) -> None:
        with pytest.raises(UpstreamRefused) as caught:
            planned("indico", "1", indico_answers("1", sample("indico", "not-found.json")))
        assert caught.value.code == "upstream-not-found"

    def test_sessions_and_sub_contributions_are_not_missed(self) -> None:
        def attached(number: int) -> list[dict[str, Any]]:
            url = f"https://indico.cern.ch/event/5/attachments/{number}/{number}.pdf"
            return [{"attachments": [{"id": number, "type": "file", "download_url": url, "filename": f"{number}.pdf"}]}]

        sub = {"title": "Part", "folders": attached(2)}
        first = {"title": "E", "folders": attached(1), "contributions": [{"title": "Talk", "subContributions": [sub]}]}
        second = {"title": "E", "folders": attached(1), "sessions": [{"title": "Session", "folders": attached(3)}]}
        recording = Recorded(
            [
                answer(INDICO.format("5", detail), json.dumps({"count": 1, "results": [event]}))
                for detail, event in (("subcontributions", first), ("sessions", second))
            ]
        )
        plan = planned("indico", "5", recording)
        assert sorted(files(plan)) == ["1.pdf", "2.pdf", "3.pdf"]
        assert [file.title for file in plan.files] == ["attachment", "Part: attachment", "Session: attachment"]


GITLAB = "https://gitlab.cern.ch/api/v4/projects/105"


class TestGitLab:
    def answers(self, status: str) -> list[dict[str, Any]]:
        def tree(page: int, *names: str, following: str) -> dict[str, Any]:
            url = f"{GITLAB}/repository/tree?recursive=true&per_page=100&page={page}&ref=main"
            entries = [{"id": f"id-{name}", "name": name, "type": "blob", "path": name} for name in names]
            return answer(url, json.dumps(entries), **{"X-Total": "3", "X-Next-Page": following})

        project = {
            "path": "proj",
            "name_with_namespace": "g / proj",
            "default_branch": "main",
            "visibility": "internal",
        }
        return [
            answer(GITLAB, json.dumps(project)),
            tree(1, "a.txt", "sub/b.txt", following="2"),
            tree(2, "c.txt", following=""),
            answer(f"{GITLAB}/export", json.dumps({"export_status": status})),
            {**answer(f"{GITLAB}/export", '{"message": "202 Accepted"}', 202), "method": "POST"},
        ]

    def test_every_page_of_the_tree_and_the_export(self) -> None:
        plan = planned("gitlab", "105", Recorded(self.answers("finished")))
        assert list(files(plan)) == [
            "repository_files/a.txt",
            "repository_files/sub/b.txt",
            "repository_files/c.txt",
            "repository_metadata/proj_export.tar.gz",
        ]
        assert plan.files[1].url == f"{GITLAB}/repository/files/sub%2Fb.txt/raw?ref=main"
        assert plan.restricted

    def test_an_export_is_asked_for_and_waited_for(self) -> None:
        recording = Recorded(self.answers("none"))
        with pytest.raises(Preparing):
            planned("gitlab", "105", recording)
        assert ("POST", f"{GITLAB}/export") in recording.asked

    def test_an_export_in_the_making_is_not_asked_for_twice(self) -> None:
        recording = Recorded(self.answers("started"))
        with pytest.raises(Preparing):
            planned("gitlab", "105", recording)
        assert not any(method == "POST" for method, _ in recording.asked)

    def test_a_refused_export_is_a_warning(self) -> None:
        answers = [a for a in self.answers("none") if not a["url"].endswith("/export")]
        plan = planned("gitlab", "105", Recorded([*answers, answer(f"{GITLAB}/export", "{}", 403)]))
        assert len(plan.files) == 3
        assert plan.warnings

    def test_the_token_travels_in_a_header_only(self) -> None:
        record = by_id("gitlab", "105", SETTINGS)
        recording = Recorded(self.answers("finished"))
        with client(
            record,
            recording,
            SETTINGS,
            credentials={"Authorization": "Bearer top-secret"},
            credentials_origin=record.base_url,
        ) as http:
            plan = PLANNERS["gitlab"](record, http)
        assert all(headers["authorization"] == "Bearer top-secret" for headers in recording.headers)
        assert b"top-secret" not in to_json(plan)

    def test_a_tree_that_is_shorter_than_announced_is_refused(self) -> None:
        answers = [a for a in self.answers("finished") if "page=2" not in a["url"]]
        short = answer(
            f"{GITLAB}/repository/tree?recursive=true&per_page=100&page=2&ref=main", "[]", **{"X-Next-Page": ""}
        )
        with pytest.raises(UpstreamRefused):
            planned("gitlab", "105", Recorded([*answers, short]))


class TestCodiMd:
    def test_note_and_pdf(self) -> None:
        plan = planned("codimd", "abc", Recorded(recorded_exchanges()))
        assert list(files(plan)) == ["My Note.md", "My Note.pdf"]
        assert plan.files[0].size == len(b"# Note\n")
        assert [file.optional for file in plan.files] == [False, True]

    def test_a_compressed_note_is_decoded(self) -> None:
        plan = planned("codimd", "gz", Recorded(recorded_exchanges()))
        assert plan.captures[-1].body == b"# Note\n"

    def test_a_login_page_is_no_note(self) -> None:
        page = answer(
            "https://codimd.web.cern.ch/abcd/download", "<html>sign in</html>", **{"Content-Type": "text/html"}
        )
        with pytest.raises(UpstreamRefused):
            planned("codimd", "abcd", Recorded([page]))


class TestDoi:
    def test_datacite_says_where(self) -> None:
        recording = Recorded(
            [
                answer(
                    "https://api.datacite.org/dois/10.1234%2Fabc",
                    json.dumps({"data": {"attributes": {"url": "https://repository.cern/records/abcde-12345"}}}),
                )
            ]
        )
        record = recognise("https://doi.org/10.1234/abc", SETTINGS)
        with client(record, recording, SETTINGS) as http, pytest.raises(Moved) as caught:
            doi.plan(record, http)
        assert recognise(caught.value.url, SETTINGS).recid == "abcde-12345"

    def test_other_agencies_are_asked_through_the_handle_system(self) -> None:
        values = {"values": [{"type": "HS_ADMIN"}, {"type": "URL", "data": {"value": "https://zenodo.org/record/5"}}]}
        recording = Recorded([answer("https://doi.org/api/handles/10.1234/abc", json.dumps(values))])
        record = recognise("doi:10.1234/abc", SETTINGS)
        with client(record, recording, SETTINGS) as http, pytest.raises(Moved) as caught:
            doi.plan(record, http)
        assert recognise(caught.value.url, SETTINGS).source == "zenodo"

    def test_an_unknown_doi(self) -> None:
        record = recognise("10.1234/abc", SETTINGS)
        with client(record, Recorded([]), SETTINGS) as http, pytest.raises(UpstreamRefused) as caught:
            doi.plan(record, http)
        assert caught.value.code == "upstream-not-found"


OAI = "https://zenodo.org/oai2d"


class TestOaiPmh:
    def walk(self, *answers: dict[str, Any], **arguments: Any) -> list[oai.Page]:
        record = by_id("zenodo", "1", SETTINGS)
        with client(record, Recorded(answers), SETTINGS) as http:
            return list(oai.walk(http, OAI, **arguments))

    def test_two_pages(self) -> None:
        first, second = sample("oai-pmh", "identifiers-page1.xml"), sample("oai-pmh", "identifiers-page2.xml")
        token = first.split(b">.eJw", 1)[1].split(b"<", 1)[0].decode()
        pages = self.walk(
            answer(f"{OAI}?verb=ListIdentifiers&metadataPrefix=oai_dc", first),
            answer(f"{OAI}?verb=ListIdentifiers&resumptionToken=.eJw{token}", second),
        )
        assert sum(len(page.headers) for page in pages) == pages[0].complete_size == 15
        assert pages[0].headers[0] == oai.Header("oai:rdm.test:12x1m-v7x13", "2026-11-21T21:23:52Z")
        assert pages[-1].token is None

    def test_nothing_new_comes_with_status_422(self) -> None:
        body = sample("oai-pmh", "error-norecords.xml")
        assert self.walk(answer(f"{OAI}?verb=ListIdentifiers&metadataPrefix=oai_dc", body, 422)) == []

    @pytest.mark.parametrize("name", ["badverb", "badprefix"])
    def test_errors_are_read_out_of_422(self, name: str) -> None:
        body = sample("oai-pmh", f"error-{name}.xml")
        with pytest.raises(oai.OaiError) as caught:
            self.walk(answer(f"{OAI}?verb=ListIdentifiers&metadataPrefix=oai_dc", body, 422))
        assert caught.value.name in ("badVerb", "badArgument", "cannotDisseminateFormat")

    def test_a_dead_token_starts_again_from_the_beginning_of_a_list_without_order(self) -> None:
        """The recorded list is one: from the greatest datestamp on, the records behind it would be lost."""
        first = sample("oai-pmh", "identifiers-page1.xml")
        token = first.split(b">.eJw", 1)[1].split(b"<", 1)[0].decode()
        dead = f"{OAI}?verb=ListIdentifiers&resumptionToken=.eJw{token}"
        with pytest.raises(oai.OaiError):
            self.walk(
                answer(f"{OAI}?verb=ListIdentifiers&metadataPrefix=oai_dc", first),
                answer(dead, sample("oai-pmh", "error-badtoken.xml"), 422),
            )

    def test_a_dead_token_starts_again_from_the_greatest_datestamp_of_an_ordered_list(self) -> None:
        first = sample("oai-pmh", "identifiers-page1.xml").replace(b"21:24:34Z", b"21:24:38Z")
        token = first.split(b">.eJw", 1)[1].split(b"<", 1)[0].decode()
        last = sample("oai-pmh", "identifiers-page2.xml")
        stamps = [part.split(b"<")[0] for part in first.split(b"<datestamp>")[1:]]
        greatest = max(stamps).decode().replace(":", "%3A")
        pages = self.walk(
            answer(f"{OAI}?verb=ListIdentifiers&metadataPrefix=oai_dc", first),
            answer(
                f"{OAI}?verb=ListIdentifiers&resumptionToken=.eJw{token}", sample("oai-pmh", "error-badtoken.xml"), 422
            ),
            answer(f"{OAI}?verb=ListIdentifiers&metadataPrefix=oai_dc&from={greatest}", last),
        )
        assert len(pages) == 2

    def test_marcxml_gives_a_complete_plan(self, tmp_path: Any) -> None:
        profiles = tmp_path / "profiles.toml"
        profiles.write_text(
            '[[source]]\nid = "rdm-oai"\nname = "RDM"\nprotocol = "oai-pmh"\nbase_url = "https://rdm.test"\n'
            'oai_path = "/oai2d"\noai_prefix = "oai:rdm.test:"\nrecid = \'\\S{1,200}\'\n'
        )
        settings = Settings(harvest_profiles=str(profiles))
        identifier = "oai:rdm.test:18hms-pp478"
        base = "https://rdm.test/oai2d?verb=GetRecord&metadataPrefix={}&identifier=oai%3Ardm.test%3A18hms-pp478"
        answers = [
            answer(base.format(prefix), sample("oai-pmh", f"getrecord-{prefix}.xml"))
            for prefix in ("marcxml", "dcat", "oai_datacite")
        ]
        recording = Recorded([*answers, answer(base.format("oai_dc"), sample("oai-pmh", "error-badprefix.xml"), 422)])
        record = by_id("rdm-oai", identifier, settings)
        with client(record, recording, settings) as http:
            plan = PLANNERS["oai-pmh"](record, http)
        assert {file.key: (file.size, file.checksums) for file in plan.files} == {
            "data.bin": (25600, {"md5": "c73a756d7c65cb6991030bff87439016"}),
            "readme.txt": (2, {"md5": "49f68a5c8493ec2c0bf489821c21fc3b"}),
        }
        assert [capture.name for capture in plan.captures] == [
            "metadata-marcxml.xml",
            "metadata-dcat.xml",
            "metadata-oai_datacite.xml",
        ]
