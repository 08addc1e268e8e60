"""Upstreams that misbehave: what a harvest makes of each (harvesting.md 2, 6; cern-oais-platform.md 15, 22)."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from perdura.clients.http import HttpClient, UpstreamRefused
from perdura.clients.reach import DestinationRefused, Reach, look_up
from perdura.errors import UpstreamUnavailable
from perdura.outcome import Outcome, StepState
from perdura.premis.model import FAILURE
from perdura.settings import Settings
from perdura.sources.catalogue import UnknownSource
from perdura.steps import harvest
from tests.unit.harvest.surroundings import Deadline, Harvesting
from tests.upstreams.invenio import content_path, entry, json_reply, md5, publish, record
from tests.upstreams.server import Reply, Upstream, serving

DATA = b"column,value\n1,2\n" * 40
BIG = bytes(range(256)) * 8192
"""2 MiB: more than what is stored with one request."""
GZIP = {"Content-Encoding": "gzip"}


@pytest.fixture
def world() -> Harvesting:
    return Harvesting()


def run(world: Harvesting, url: str, **more: object) -> Outcome:
    return harvest.run(world.archive({"url": url, **more}), world.ports())


def tampered(upstream: Upstream, *replies: Reply, data: bytes = DATA, key: str = "data.csv") -> str:
    """A record of one file that is served as told."""
    url = publish(upstream, "rec-1", {key: data})
    upstream.add(content_path("rec-1", key), *replies)
    return url


def no_bag(world: Harvesting) -> bool:
    return "sip/bagit.txt" not in world.listing()


class TestBytesThatDiffer:
    def test_wrong_checksum_fails_with_both_values(self, upstream: Upstream, world: Harvesting) -> None:
        wrong = bytes(reversed(DATA))
        outcome = run(world, tampered(upstream, Reply(wrong)))
        assert (outcome.state, outcome.error_code) == (StepState.FAILED, "checksum-mismatch")
        (event,) = outcome.events
        (result,) = event.outcomes
        assert result.outcome == FAILURE
        assert f"md5:{md5(DATA)}" in result.notes[0]
        assert f"md5:{md5(wrong)}" in result.notes[0]
        assert not world.listing("sip/data/content/")
        assert no_bag(world)

    def test_one_wrong_answer_is_forgiven_by_a_second_look(self, upstream: Upstream, world: Harvesting) -> None:
        outcome = run(world, tampered(upstream, Reply(bytes(reversed(DATA))), Reply(DATA)))
        assert outcome.state is StepState.COMPLETED
        assert world.read("sip/data/content/data.csv") == DATA

    @pytest.mark.parametrize("body", [DATA[:-1], DATA + b"x", b""])
    def test_other_size_fails(self, upstream: Upstream, world: Harvesting, body: bytes) -> None:
        outcome = run(world, tampered(upstream, Reply(body)))
        assert (outcome.state, outcome.error_code) == (StepState.FAILED, "size-mismatch")
        assert no_bag(world)

    def test_every_refused_file_is_named(self, upstream: Upstream, world: Harvesting) -> None:
        url = publish(upstream, "rec-1", {"a": b"aa", "b": b"bb", "c": b"cc"})
        upstream.add(content_path("rec-1", "a"), Reply(b"xx"))
        upstream.add(content_path("rec-1", "c"), Reply(status=404))
        outcome = run(world, url)
        assert outcome.state is StepState.FAILED
        assert {(f.code, f.path) for f in outcome.findings} == {
            ("checksum-mismatch", "data/content/a"),
            ("upstream-not-found", "data/content/c"),
        }

    def test_html_with_status_200_is_no_file(self, upstream: Upstream, world: Harvesting) -> None:
        page = Reply(b"<html>Please sign in</html>", headers={"Content-Type": "text/html; charset=utf-8"})
        outcome = run(world, tampered(upstream, page))
        assert (outcome.state, outcome.error_code) == (StepState.FAILED, "html-instead-of-file")

    def test_html_is_refused_where_nothing_is_declared(self, upstream: Upstream, world: Harvesting) -> None:
        url = publish(upstream, "rec-1", {})
        page = entry("thesis.pdf", b"", upstream.base + "/x", size=None, checksum=None, mimetype="application/pdf")
        upstream.add("/api/records/rec-1/files", json_reply({"entries": [page]}))
        upstream.add("/x", Reply(b"<html>moved</html>", headers={"Content-Type": "text/html"}))
        assert run(world, url).error_code == "html-instead-of-file"

    def test_a_login_page_that_announces_its_own_digest_is_no_file(self, upstream: Upstream, world: Harvesting) -> None:
        page = b"<html>Please sign in</html>"
        url = publish(upstream, "rec-1", {})
        listed = entry("thesis.pdf", b"", upstream.base + "/x", size=None, checksum=None)
        upstream.add("/api/records/rec-1/files", json_reply({"entries": [listed]}))
        upstream.add("/x", Reply(page, headers={"Content-Type": "text/html", "Content-MD5": md5(page)}))
        assert run(world, url).error_code == "html-instead-of-file"

    def test_an_empty_file_is_one_where_its_digest_says_so(self, upstream: Upstream, world: Harvesting) -> None:
        url = publish(upstream, "rec-1", {})
        listed = [entry(key, b"", f"{upstream.base}/{key}", size=None, checksum=None) for key in ("told", "untold")]
        upstream.add("/api/records/rec-1/files", json_reply({"entries": listed}))
        upstream.add("/told", Reply(b"", headers={"Content-MD5": md5(b"")}))
        upstream.add("/untold", Reply(b""))
        outcome = run(world, url)
        assert [(found.code, found.path) for found in outcome.findings] == [("empty-body", "data/content/untold")]

    def test_html_is_kept_where_it_is_the_file(self, upstream: Upstream, world: Harvesting) -> None:
        page = Reply(DATA, headers={"Content-Type": "text/html"})
        assert run(world, tampered(upstream, page, key="index.html")).state is StepState.COMPLETED

    def test_compressed_answers_are_stored_as_the_file(self, upstream: Upstream, world: Harvesting) -> None:
        outcome = run(world, tampered(upstream, Reply(gzip.compress(DATA), headers=GZIP)))
        assert outcome.state is StepState.COMPLETED
        assert world.read("sip/data/content/data.csv") == DATA
        sip = json.loads(world.read("sip/data/meta/sip.json"))
        assert sip["contentFiles"][0]["perdura"]["content_encoding"] == "gzip"

    def test_every_member_of_a_compressed_answer_is_of_the_file(self, upstream: Upstream, world: Harvesting) -> None:
        body = gzip.compress(DATA[:100]) + gzip.compress(DATA[100:])
        assert run(world, tampered(upstream, Reply(body, headers=GZIP))).state is StepState.COMPLETED
        assert world.read("sip/data/content/data.csv") == DATA

    def test_nothing_behind_a_compressed_answer_is_dropped(self, upstream: Upstream, world: Harvesting) -> None:
        outcome = run(world, tampered(upstream, Reply(gzip.compress(DATA) + bytes(1 << 20), headers=GZIP)))
        assert (outcome.state, outcome.error_code) == (StepState.FAILED, "upstream-encoding")

    def test_a_compression_bomb_ends_at_the_declared_size(self, upstream: Upstream, world: Harvesting) -> None:
        bomb = Reply(gzip.compress(bytes(50 << 20)), headers=GZIP)
        assert run(world, tampered(upstream, bomb)).error_code == "size-mismatch"


class TestBounds:
    def test_a_file_that_is_declared_too_large_is_not_asked_for(self, upstream: Upstream) -> None:
        world = Harvesting(settings=Settings(allow_loopback_upstreams=True, harvest_file_bytes=100))
        assert run(world, publish(upstream, "rec-1", {"data.csv": DATA})).error_code == "file-too-large"
        assert content_path("rec-1", "data.csv") not in upstream.paths()

    def test_a_body_without_an_end_ends_at_the_bound(self, upstream: Upstream) -> None:
        world = Harvesting(settings=Settings(allow_loopback_upstreams=True, harvest_file_bytes=1 << 20))
        url = publish(upstream, "rec-1", {})
        endless = entry("film.mp4", b"", upstream.base + "/film", size=None, checksum=None)
        upstream.add("/api/records/rec-1/files", json_reply({"entries": [endless]}))
        upstream.add("/film", Reply(bytes(64 << 20), length=False))
        assert run(world, url).error_code == "file-too-large"
        assert no_bag(world)


class TestConnections:
    def test_a_reset_is_resumed_where_it_broke(self, upstream: Upstream, world: Harvesting) -> None:
        tag = {"ETag": '"v1"'}
        replies = (Reply(BIG, headers=tag, ranges=True, reset_at=1 << 20), Reply(BIG, headers=tag, ranges=True))
        outcome = run(world, tampered(upstream, *replies, data=BIG))
        assert outcome.state is StepState.COMPLETED
        assert world.read("sip/data/content/data.csv") == BIG
        again = [seen.headers for seen in upstream.seen if "range" in seen.headers]
        assert len(again) == 1
        assert again[0]["if-range"] == '"v1"'

    def test_a_server_without_ranges_is_started_over(self, upstream: Upstream, world: Harvesting) -> None:
        tag = {"ETag": '"v1"'}
        outcome = run(
            world, tampered(upstream, Reply(BIG, headers=tag, cut_at=1 << 20), Reply(BIG, headers=tag), data=BIG)
        )
        assert outcome.state is StepState.COMPLETED
        assert world.read("sip/data/content/data.csv") == BIG

    def test_a_weak_tag_is_never_used_to_resume(self, upstream: Upstream, world: Harvesting) -> None:
        tag = {"ETag": 'W/"v1"'}
        replies = (Reply(BIG, headers=tag, ranges=True, cut_at=1 << 20), Reply(BIG, headers=tag, ranges=True))
        assert run(world, tampered(upstream, *replies, data=BIG)).state is StepState.COMPLETED
        assert not any("range" in seen.headers for seen in upstream.seen)

    def test_another_state_under_the_same_address_is_not_glued_together(
        self, upstream: Upstream, world: Harvesting
    ) -> None:
        changed = BIG[::-1]
        replies = (
            Reply(BIG, headers={"ETag": '"v1"'}, ranges=True, cut_at=1 << 20),
            Reply(changed, headers={"ETag": '"v2"'}, ranges=True),
        )
        assert run(world, tampered(upstream, *replies, data=BIG)).error_code == "checksum-mismatch"

    @pytest.mark.parametrize(
        "told",
        [{"ETag": '"v2"'}, {"Content-Encoding": "gzip"}, {"Content-Range": f"bytes {1 << 20}-{2 << 20}/{9 << 20}"}],
    )
    def test_a_part_of_something_else_is_not_glued_on(
        self, upstream: Upstream, world: Harvesting, told: dict[str, str]
    ) -> None:
        part = {"ETag": '"v1"', "Content-Range": f"bytes {1 << 20}-{len(BIG) - 1}/{len(BIG)}", **told}
        replies = (
            Reply(BIG, headers={"ETag": '"v1"'}, cut_at=1 << 20),
            Reply(BIG[1 << 20 :][::-1], 206, part),
            Reply(BIG, headers={"ETag": '"v1"'}),
        )
        assert run(world, tampered(upstream, *replies, data=BIG)).state is StepState.COMPLETED
        assert world.read("sip/data/content/data.csv") == BIG
        assert [("range" in seen.headers) for seen in upstream.seen[-3:]] == [False, True, False]

    def test_a_body_that_always_breaks_off_is_retried_later(self, upstream: Upstream, world: Harvesting) -> None:
        with pytest.raises(UpstreamUnavailable):
            run(world, tampered(upstream, Reply(DATA, cut_at=10)))
        assert no_bag(world)

    def test_a_length_that_lies_is_no_success(self, upstream: Upstream, world: Harvesting) -> None:
        with pytest.raises(UpstreamUnavailable):
            run(world, tampered(upstream, Reply(DATA, length=len(DATA) + 100)))

    def test_a_missing_length_is_no_problem(self, upstream: Upstream, world: Harvesting) -> None:
        assert run(world, tampered(upstream, Reply(DATA, length=False))).state is StepState.COMPLETED

    def test_a_slow_drip_ends_with_the_time_budget(self, upstream: Upstream, world: Harvesting) -> None:
        url = tampered(upstream, Reply(DATA, drip=0.02))
        content = content_path("rec-1", "data.csv")
        world.deadline = Deadline(lambda: content in upstream.paths())
        outcome = run(world, url)
        assert outcome.state is StepState.QUEUED
        assert not world.listing("sip/")


class TestServersThatAskToWait:
    def test_seconds(self, upstream: Upstream, world: Harvesting) -> None:
        busy = Reply(b"<html>Too many requests</html>", 429, {"Retry-After": "42", "Content-Type": "text/html"})
        with pytest.raises(UpstreamUnavailable) as caught:
            run(world, tampered(upstream, busy))
        assert caught.value.retry_after == 42

    def test_a_date(self, upstream: Upstream, world: Harvesting) -> None:
        then = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
        publish(upstream, "rec-1", {})
        upstream.add("/api/records/rec-1", Reply(status=503, headers={"Retry-After": then}))
        with pytest.raises(UpstreamUnavailable) as caught:
            run(world, f"{upstream.base}/records/rec-1")
        assert caught.value.retry_after is not None
        assert 80 < caught.value.retry_after <= 100
        assert len(upstream.seen) == 1

    def test_retry_after_on_success_means_nothing(self, upstream: Upstream, world: Harvesting) -> None:
        headers = {"Retry-After": "59", "X-RateLimit-Remaining": "131"}
        assert run(world, tampered(upstream, Reply(DATA, headers=headers))).state is StepState.COMPLETED

    def test_server_errors_are_tried_again_at_once_and_then_later(self, upstream: Upstream, world: Harvesting) -> None:
        publish(upstream, "rec-1", {})
        upstream.add("/api/records/rec-1", Reply(b"<h1>oops</h1>", 500))
        with pytest.raises(UpstreamUnavailable):
            run(world, f"{upstream.base}/records/rec-1")
        assert len(upstream.seen) == 3

    def test_one_server_error_is_forgiven(self, upstream: Upstream, world: Harvesting) -> None:
        url = publish(upstream, "rec-1", {"data.csv": DATA})
        upstream.add("/api/records/rec-1", Reply(status=502), json_reply(record("rec-1", upstream.base)))
        assert run(world, url).state is StepState.COMPLETED

    def test_finished_files_are_not_fetched_again(self, upstream: Upstream, world: Harvesting) -> None:
        url = publish(upstream, "rec-1", {"a.bin": BIG, "b.bin": BIG + b"b"})
        upstream.add(content_path("rec-1", "b.bin"), Reply(status=429), Reply(BIG + b"b"))
        with pytest.raises(UpstreamUnavailable):
            run(world, url)
        assert run(world, url).state is StepState.COMPLETED
        assert upstream.paths().count(content_path("rec-1", "a.bin")) == 1
        assert upstream.paths().count("/api/records/rec-1") == 1


class TestRecords:
    def test_unknown_record(self, upstream: Upstream, world: Harvesting) -> None:
        with pytest.raises(UpstreamRefused) as caught:
            run(world, f"{upstream.base}/records/none")
        assert caught.value.code == "upstream-not-found"

    def test_deleted_record(self, upstream: Upstream, world: Harvesting) -> None:
        stone = {
            "note": "withdrawn by its author",
            "removal_reason": {"id": "retracted"},
            "removal_date": "2026-02-01T00:00:00+00:00",
            "citation_text": "Exemplar (2026)",
        }
        answer = json_reply({"tombstone": stone}, 410)
        upstream.add("/api/records/rec-1", answer)
        outcome = run(world, f"{upstream.base}/records/rec-1")
        assert (outcome.state, outcome.error_code) == (StepState.FAILED, "upstream-deleted")
        assert world.read("tombstone.json") == answer.body
        assert outcome.archive is not None
        told = (outcome.archive.metadata or {})["upstream_tombstone"]
        assert (told["reason"], told["note"]) == ("retracted", "withdrawn by its author")
        (event,) = outcome.events
        assert "deleted upstream: our packages stay" in event.outcomes[0].notes

    def test_what_was_harvested_stays_when_the_upstream_deletes_it(self, upstream: Upstream, world: Harvesting) -> None:
        url = publish(upstream, "rec-1", {"data.csv": DATA})
        assert run(world, url).state is StepState.COMPLETED
        before = {key: world.read(key) for key in world.listing("sip/")}
        upstream.add("/api/records/rec-1", Reply(b"<html>Gone</html>", 410, {"Content-Type": "text/html"}))
        outcome = harvest.run(world.archive({"url": url}, attempt=2), world.ports())
        assert outcome.error_code == "upstream-deleted"
        assert {key: world.read(key) for key in world.listing("sip/")} == before

    def test_an_html_page_is_no_record(self, upstream: Upstream, world: Harvesting) -> None:
        upstream.add("/api/records/rec-1", Reply(b"<html>maintenance</html>", headers={"Content-Type": "text/html"}))
        with pytest.raises(UpstreamRefused) as caught:
            run(world, f"{upstream.base}/records/rec-1")
        assert caught.value.code == "upstream-not-json"

    def test_embargoed_files_are_waited_for(self, upstream: Upstream, world: Harvesting) -> None:
        access = {"status": "embargoed", "embargo": {"active": True, "until": "2999-01-01"}}
        url = publish(upstream, "rec-1", {}, access=access)
        upstream.add("/api/records/rec-1/files", json_reply({"message": "Permission denied."}, 403))
        outcome = run(world, url)
        assert outcome.state is StepState.WAITING
        assert outcome.poll_at == datetime(2999, 1, 1, tzinfo=UTC)

    def test_restricted_files_are_for_a_person_to_decide(self, upstream: Upstream, world: Harvesting) -> None:
        url = publish(upstream, "rec-1", {}, access={"status": "restricted", "files": "restricted"})
        upstream.add("/api/records/rec-1/files", json_reply({"message": "Permission denied."}, 403))
        assert (run(world, url).state, run(world, url).error_code) == (StepState.BLOCKED, "upstream-closed")
        outcome = run(world, url, metadata_only=True)
        assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
        assert outcome.archive is not None
        assert outcome.archive.restricted

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_file_list_that_is_closed_without_a_reason_is_closed_content(
        self, upstream: Upstream, world: Harvesting, status: int
    ) -> None:
        url = publish(upstream, "rec-1", {})
        upstream.add("/api/records/rec-1/files", json_reply({"message": "Permission denied."}, status))
        outcome = run(world, url)
        assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "upstream-closed")
        assert run(world, url, metadata_only=True).state is StepState.COMPLETED_WITH_WARNINGS

    def test_a_record_that_is_not_shown_is_closed_content(self, upstream: Upstream, world: Harvesting) -> None:
        upstream.add("/api/records/rec-1", json_reply({"message": "Permission denied."}, 403))
        outcome = run(world, f"{upstream.base}/records/rec-1")
        assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "upstream-closed")
        assert outcome.archive is not None
        assert (outcome.archive.source, outcome.archive.recid) == ("demo", "rec-1")
        (event,) = outcome.events
        assert event.details == ("files of demo rec-1 are not shown to us",)

    def test_a_listed_file_that_is_not_given_is_closed_content(self, upstream: Upstream, world: Harvesting) -> None:
        url = publish(upstream, "rec-1", {"a": b"aa", "b": b"bb"})
        upstream.add(content_path("rec-1", "b"), Reply(status=403))
        outcome = run(world, url)
        assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "upstream-closed")
        assert "expected status 200; found status 403" in outcome.events[0].outcomes[0].notes[0]
        assert no_bag(world)
        outcome = harvest.run(world.archive({"url": url, "metadata_only": True}, attempt=2), world.ports())
        assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
        assert [(found.code, found.path) for found in outcome.findings] == [("file-missing", "data/content/b")]
        assert world.read("sip/data/content/a") == b"aa"

    def test_a_restricted_record_without_files_has_none_that_are_closed(
        self, upstream: Upstream, world: Harvesting
    ) -> None:
        url = publish(upstream, "rec-1", {}, access={"status": "restricted", "record": "restricted"})
        assert run(world, url).state is StepState.COMPLETED

    def test_an_embargo_that_ended_is_lifted_by_the_repository_a_little_later(
        self, upstream: Upstream, world: Harvesting
    ) -> None:
        for days, state in ((1, StepState.WAITING), (30, StepState.BLOCKED)):
            until = (datetime.now(UTC) - timedelta(days=days)).date().isoformat()
            url = publish(upstream, "rec-1", {}, access={"status": "embargoed", "embargo": {"until": until}})
            upstream.add("/api/records/rec-1/files", json_reply({"message": "Permission denied."}, 403))
            outcome = run(world, url)
            assert outcome.state is state
        assert outcome.error_code == "upstream-closed"

    def test_a_record_without_files_becomes_a_sip(self, upstream: Upstream, world: Harvesting) -> None:
        assert run(world, publish(upstream, "rec-1", {})).state is StepState.COMPLETED
        assert not no_bag(world)

    def test_a_parent_id_is_kept_as_what_it_led_to(self, upstream: Upstream, world: Harvesting) -> None:
        publish(upstream, "rec-2", {"data.csv": DATA})
        upstream.add("/api/records/parent-1", Reply(status=302, headers={"Location": "/api/records/rec-2"}))
        outcome = run(world, f"{upstream.base}/records/parent-1")
        assert outcome.archive is not None
        assert outcome.archive.recid == "rec-2"

    def test_content_that_changes_between_plan_and_fetch_is_planned_again(
        self, upstream: Upstream, world: Harvesting
    ) -> None:
        url = publish(upstream, "rec-1", {"data.csv": DATA, "gone.txt": b"old"})
        old = (upstream.routes["/api/records/rec-1"][0], upstream.routes["/api/records/rec-1/files"][0])
        publish(upstream, "rec-1", {"data.csv": DATA * 2}, revision=2)
        for path, before in zip(("/api/records/rec-1", "/api/records/rec-1/files"), old, strict=True):
            upstream.routes[path].insert(0, before)
        outcome = run(world, url)
        assert outcome.state is StepState.QUEUED
        archive = world.archive({"url": url}, checkpoint=outcome.checkpoint)
        outcome = harvest.run(archive, world.ports())
        assert outcome.state is StepState.COMPLETED
        (package,) = outcome.packages
        below = package.key.rstrip("/").rpartition("/")[2]
        assert world.read(f"{below}/data/content/data.csv") == DATA * 2
        assert world.listing(f"{below}/data/content/") == [f"{below}/data/content/data.csv"]


class TestDestinations:
    @pytest.mark.parametrize(
        "target",
        [
            "http://169.254.169.254/latest/meta-data/",
            "http://10.0.0.1/",
            "http://[::ffff:10.0.0.1]/",
            "http://example.org/file",
            "ftp://127.0.0.1/x",
            "file:///etc/passwd",
        ],
    )
    def test_a_redirect_off_the_list_is_a_failure(self, upstream: Upstream, world: Harvesting, target: str) -> None:
        outcome = run(world, tampered(upstream, Reply(status=302, headers={"Location": target})))
        assert (outcome.state, outcome.error_code) == (StepState.FAILED, "destination-refused")

    def test_a_file_list_may_not_point_elsewhere(self, upstream: Upstream, world: Harvesting) -> None:
        url = publish(upstream, "rec-1", {})
        elsewhere = entry("x", b"x", "http://169.254.169.254/latest/meta-data/iam")
        upstream.add("/api/records/rec-1/files", json_reply({"entries": [elsewhere]}))
        assert run(world, url).error_code == "destination-refused"

    def test_a_record_may_not_send_us_elsewhere(self, upstream: Upstream, world: Harvesting) -> None:
        upstream.add("/api/records/rec-1", json_reply(record("rec-1", "http://192.168.0.1")))
        with pytest.raises(DestinationRefused):
            run(world, f"{upstream.base}/records/rec-1")

    def test_redirects_have_an_end(self, upstream: Upstream, world: Harvesting) -> None:
        loop = Reply(status=302, headers={"Location": content_path("rec-1", "data.csv")})
        assert run(world, tampered(upstream, loop)).error_code == "upstream-redirect"

    def test_loopback_is_closed_without_the_setting(self, upstream: Upstream) -> None:
        world = Harvesting(settings=Settings(allow_loopback_upstreams=False))
        with pytest.raises(UnknownSource):
            run(world, publish(upstream, "rec-1", {}))

    def test_credentials_go_to_their_origin_alone(self, upstream: Upstream, world: Harvesting) -> None:
        from perdura.clients.http import HttpClient
        from perdura.clients.reach import Reach

        with serving() as other:
            other.add("/file", Reply(b"data"))
            upstream.add("/away", Reply(status=302, headers={"Location": f"{other.base}/file"}))
            upstream.add("/here", Reply(b"data"))
            with HttpClient(
                Reach(frozenset({"127.0.0.1"}), allow_loopback=True),
                user_agent="tests",
                credentials={"Authorization": "Bearer secret"},
                credentials_origin=upstream.base,
            ) as client:
                client.get(f"{upstream.base}/here")
                client.get(f"{upstream.base}/away")
        assert all(seen.headers["authorization"] == "Bearer secret" for seen in upstream.seen)
        assert "authorization" not in other.seen[0].headers


class TestNames:
    def test_hostile_and_clashing_names_stay_inside_and_apart(self, upstream: Upstream, world: Harvesting) -> None:
        names = [
            "../../etc/passwd",
            "/abs",
            "a.txt",
            "A.TXT",
            "sub/é.txt",
            "sub/e\u0301.txt",
            "x\ny",
            "50% off?.csv",
            "d",
            "d/f",
        ]
        outcome = run(world, publish(upstream, "rec-1", {name: name.encode() for name in names}))
        assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
        stored = world.listing("sip/data/content/")
        assert len(stored) == len(names)
        assert not any(".." in key.split("/") or "\n" in key for key in stored)
        assert "sip/data/content/50% off?.csv" in stored
        sip = json.loads(world.read("sip/data/meta/sip.json"))
        found = {f"{e['origin']['path']}/{e['origin']['filename']}".lstrip("/") for e in sip["contentFiles"]}
        assert {name.lstrip("/") for name in names} <= found
        manifest = world.read("sip/manifest-sha256.txt").decode()
        assert "data/content/50%25 off?.csv\n" in manifest

    def test_an_upstream_metadata_json_does_not_clash_with_ours(self, upstream: Upstream, world: Harvesting) -> None:
        assert run(world, publish(upstream, "rec-1", {"metadata.json": DATA})).state is StepState.COMPLETED
        assert world.read("sip/data/content/metadata.json") == DATA


class TestContinuing:
    def test_a_worker_without_time_left_hands_over(self, upstream: Upstream, world: Harvesting) -> None:
        url = publish(upstream, "rec-1", {f"{n}.bin": BIG + bytes([n]) for n in range(6)})
        world.deadline = Deadline(lambda: sum("content" in path for path in upstream.paths()) > 4)
        outcome = run(world, url)
        assert outcome.state is StepState.QUEUED
        assert no_bag(world)
        world.deadline = Deadline()
        archive = world.archive({"url": url}, checkpoint=outcome.checkpoint)
        assert harvest.run(archive, world.ports()).state is StepState.COMPLETED
        assert upstream.paths().count("/api/records/rec-1") == 1

    def test_a_second_run_gives_the_same_sip(self, upstream: Upstream, world: Harvesting) -> None:
        url = publish(upstream, "rec-1", {"data.csv": DATA, "b.bin": BIG})
        first = run(world, url)
        before = {key: world.read(key) for key in world.listing()}
        second = run(world, url)
        assert before == {key: world.read(key) for key in world.listing()}
        assert first.packages == second.packages
        assert [event.id for event in first.events] == [event.id for event in second.events]

    def test_a_new_attempt_keeps_what_was_right(self, upstream: Upstream, world: Harvesting) -> None:
        url = publish(upstream, "rec-1", {"a.bin": BIG, "b.bin": BIG + b"b"})
        good = upstream.routes[content_path("rec-1", "b.bin")]
        upstream.add(content_path("rec-1", "b.bin"), Reply(b"broken"))
        assert run(world, url).state is StepState.FAILED
        upstream.add(content_path("rec-1", "b.bin"), *good)
        outcome = harvest.run(world.archive({"url": url}, attempt=2), world.ports())
        assert outcome.state is StepState.COMPLETED
        assert upstream.paths().count(content_path("rec-1", "a.bin")) == 1


def test_nothing_secret_is_recorded(upstream: Upstream, world: Harvesting) -> None:
    url = publish(upstream, "rec-1", {"data.csv": DATA})
    upstream.routes["/api/records/rec-1"][0].headers["Set-Cookie"] = "session=top-secret"
    signed = f"{upstream.base}/signed?X-Amz-Signature=top-secret&part=1"
    upstream.add("/signed", Reply(DATA))
    upstream.add("/api/records/rec-1/files", json_reply({"entries": [entry("data.csv", DATA, signed)]}))
    outcome = run(world, url)
    assert outcome.state is StepState.COMPLETED
    kept = b"".join(world.read(key) for key in world.listing("sip/") if not key.endswith("meta/files.json"))
    assert b"top-secret" not in kept
    assert "top-secret" not in repr(outcome)


def test_no_secret_of_an_address_is_kept(upstream: Upstream) -> None:
    world = Harvesting(settings=Settings(allow_loopback_upstreams=True, harvest_open=True))
    link = f'<{upstream.base}/f.bin?token=top-secret>; rel="item"; type="application/octet-stream"'
    page = {"Content-Type": "text/html", "Link": link, "X-CSRF-Token": "top-secret"}
    upstream.add("/x", Reply(b"<title>A page</title>", headers=page))
    upstream.add("/f.bin", Reply(DATA))
    outcome = run(world, f"{upstream.base}/x?token=top-secret")
    assert outcome.state is StepState.COMPLETED, outcome.message
    kept = b"".join(world.read(key) for key in world.listing("sip/"))
    assert b"top-secret" not in kept
    assert "top-secret" not in repr(outcome)


def test_a_connection_is_used_again_for_bodies_of_known_length(upstream: Upstream) -> None:
    upstream.add("/a", Reply(b"x" * 5000))
    looked_up: list[str] = []

    def noted(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return look_up(host, port)

    reach = Reach(frozenset({"127.0.0.1"}), allow_loopback=True)
    with HttpClient(reach, user_agent="tests", lookup=noted) as client:
        for _ in range(5):
            assert client.get(f"{upstream.base}/a").body == b"x" * 5000
    assert len(looked_up) == 1


@pytest.mark.parametrize(
    ("kind", "linkset"),
    [
        ("application/linkset+json", '{"linkset": [{"anchor": "%(base)s/x", "item": [{"href": "%(base)s/f.bin"}]}]}'),
        ("application/linkset", '<%(base)s/f.bin>; rel="item"; anchor="%(base)s/x",\n<%(base)s/>; rel="author"\n'),
    ],
)
def test_a_page_may_signpost_in_its_head_and_by_either_form_of_a_linkset(
    upstream: Upstream, kind: str, linkset: str
) -> None:
    world = Harvesting(settings=Settings(allow_loopback_upstreams=True, harvest_open=True))
    page = f'<html><head><link rel="linkset" type="{kind}" href="/links"></head><body><link rel="item" href="/no">'
    upstream.add("/x", Reply(status=302, headers={"Location": "/shown"}))
    upstream.add("/shown", Reply(page.encode(), headers={"Content-Type": "text/html"}))
    upstream.add("/links", Reply((linkset % {"base": upstream.base}).encode(), headers={"Content-Type": kind}))
    upstream.add("/f.bin", Reply(DATA))
    outcome = run(world, f"{upstream.base}/x")
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert world.read("sip/data/content/f.bin") == DATA
    assert "/no" not in upstream.paths()


def test_a_declared_digest_that_nobody_can_compute_is_named(upstream: Upstream, world: Harvesting) -> None:
    url = publish(upstream, "rec-1", {})
    listed = entry("data.csv", DATA, f"{upstream.base}/data", checksum="crc64:0123456789abcdef")
    upstream.add("/api/records/rec-1/files", json_reply({"entries": [listed]}))
    upstream.add("/data", Reply(DATA))
    outcome = run(world, url)
    assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
    assert [(found.code, found.path) for found in outcome.findings] == [("not-compared", "data/content/data.csv")]
