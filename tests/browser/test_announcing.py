"""Packages are announced, many at once; what was begun is called off, ended or withdrawn, and nothing kept is lost."""

from __future__ import annotations

import hashlib
import os
import re

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.stack import Stack, bag_tar

BUCKET = "batches"
"""One of `PERDURA_ANNOUNCE_BUCKETS`: nothing in it is ingested before it is announced."""

JOB = re.compile(r"/jobs/[0-9a-f-]{36}$")
ARCHIVE = re.compile(r"/archives/[0-9a-f-]{36}$")


@pytest.fixture(params=["page", "plain_page"], ids=["with scripts", "without scripts"])
def visitor(request: pytest.FixtureRequest) -> Page:
    """A signed-in page, once with scripts and once without."""
    page: Page = request.getfixturevalue(request.param)
    return page


@pytest.fixture(scope="module", autouse=True)
def bucket(stack: Stack) -> None:
    """The bucket that packages are announced from."""
    if BUCKET not in [each["Name"] for each in stack.s3.list_buckets()["Buckets"]]:
        stack.s3.create_bucket(Bucket=BUCKET)


def _put(stack: Stack, key: str, content: bytes) -> str:
    stack.s3.put_object(Bucket=BUCKET, Key=key, Body=content)
    return hashlib.sha256(content).hexdigest()


def _bag(name: str) -> bytes:
    return bag_tar({f"{name}.bin": os.urandom(2000)})


def _followed(page: Page, status: Locator, words: str) -> None:
    """The state comes to say so: by itself, or where there are no scripts by looking again."""
    again = page.get_by_role("link", name="Look again")
    for _ in range(120):
        if words in status.inner_text() or not again.count():
            break
        page.wait_for_timeout(500)
        again.click()
    expect(status).to_contain_text(words)


def test_everything_below_a_prefix_is_announced_and_each_package_followed(visitor: Page, stack: Stack) -> None:
    page, folder = visitor, f"batch-{os.urandom(4).hex()}"
    for name in ("letters", "maps"):
        _put(stack, f"{folder}/{name}.tar", _bag(name))
    _put(stack, f"{folder}/broken.zip", os.urandom(100))
    _put(stack, f"{folder}/readme.txt", b"no package")
    collection = f"Batch {folder}"
    stack.api.post("/collections", json={"name": collection}).raise_for_status()
    page.get_by_role("link", name="Add", exact=True).first.click()
    page.get_by_label("Bucket").select_option(BUCKET)
    page.get_by_label("Prefix").fill(folder)
    page.get_by_label("Collection").fill(collection)
    page.get_by_role("button", name="Announce").click()
    page.wait_for_url(JOB)
    expect(page.get_by_role("heading", level=1)).to_have_text("Announce: 3 things")
    _followed(page, page.locator("#job [role=status]"), "3 done, 0 failed, 0 left")
    expect(page.get_by_role("row", name="readme.txt")).to_have_count(0)
    job = page.url
    page.get_by_role("link", name=f"{folder}/letters.tar").click()
    page.wait_for_url(ARCHIVE)
    _followed(page, page.locator("article [role=status]"), "Completed")
    expect(page.get_by_role("link", name=collection)).to_be_visible()
    page.goto(job)
    page.get_by_role("link", name=f"{folder}/broken.zip").click()
    _followed(page, page.locator("article [role=status]"), "Rejected")


def test_single_packages_are_announced_with_their_digests(visitor: Page, stack: Stack) -> None:
    page, folder = visitor, f"list-{os.urandom(4).hex()}"
    right = _put(stack, f"{folder}/right.tar", _bag("right"))
    _put(stack, f"{folder}/wrong.tar", _bag("wrong"))
    page.get_by_role("link", name="Add", exact=True).first.click()
    page.get_by_label("Bucket").select_option(BUCKET)
    lines = f"{right}  {folder}/right.tar\n{'0' * 64}  {folder}/wrong.tar\n{folder}/gone.tar\n"
    page.get_by_label("Or single packages").fill(lines)
    page.get_by_role("button", name="Announce").click()
    page.wait_for_url(JOB)
    job = page.url
    _followed(page, page.locator("#job [role=status]"), "2 done, 1 failed, 0 left")
    expect(page.get_by_role("row", name=f"{folder}/gone.tar")).to_contain_text("not-stored")
    expect(page.get_by_role("row", name=f"{folder}/right.tar")).to_have_count(0)
    page.get_by_role("link", name="All", exact=True).click()
    for name, state in (("right.tar", "Completed"), ("wrong.tar", "Rejected")):
        page.get_by_role("link", name=f"{folder}/{name}").click()
        _followed(page, page.locator("article [role=status]"), state)
        page.goto(f"{job}?state=")
    page.goto(f"{stack.urls['registry']}/add")
    page.get_by_role("link", name="What was announced before").click()
    expect(page.locator(f"a[href$='{job.rpartition('/')[2]}']")).to_have_text("Announce")


def test_what_waits_for_its_bytes_is_called_off(visitor: Page, stack: Stack) -> None:
    page = visitor
    announced = stack.api.post("/deposits", json={"filename": "never.zip", "size": 10}).raise_for_status().json()
    page.goto(f"{stack.urls['registry']}/archives/{announced['archive']}")
    expect(page.locator("article [role=status]")).to_contain_text("Awaiting upload")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("article [role=status]")).to_contain_text("Cancelled")
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    assert stack.api.post(f"/deposits/{announced['id']}/complete").status_code == 409


def test_a_collection_a_schedule_and_a_token_are_ended_and_nothing_kept_is_lost(visitor: Page, stack: Stack) -> None:
    page, registry = visitor, stack.urls["registry"]
    word = os.urandom(4).hex()
    archive = stack.deposit(_bag("kept"), title=f"Kept {word}")
    stack.finished(archive)
    collection = stack.api.post("/collections", json={"name": f"Gone {word}"}).raise_for_status().json()["id"]
    stack.api.post(f"/collections/{collection}/members", json={"archives": [archive]}).raise_for_status()
    page.goto(f"{registry}/collections/{collection}")
    page.get_by_text("Change", exact=True).click()
    expect(page.get_by_text("Its Archives stay.")).to_be_visible()
    page.get_by_role("button", name="Remove the collection").click()
    page.wait_for_url(f"{registry}/collections")
    expect(page.get_by_role("link", name=f"Gone {word}")).to_have_count(0)
    assert stack.archive(archive)["state"] == "completed"
    schedule = {"name": f"Ended {word}", "source": "zenodo", "cron": "@weekly", "paused": True}
    made = stack.api.post("/schedules", json=schedule).raise_for_status().json()["id"]
    page.goto(f"{registry}/schedules/{made}")
    page.get_by_text("End it", exact=True).click()
    expect(page.get_by_text("It never runs again.")).to_be_visible()
    page.get_by_role("button", name="End it for good").click()
    expect(page.get_by_role("button", name="Run now")).to_have_count(0)
    page.goto(f"{registry}/account")
    page.get_by_label("What it is for").fill(word)
    page.get_by_role("button", name="Make the token").click()
    page.get_by_role("button", name=f"End {word}").click()
    expect(page.get_by_role("row", name=word)).to_contain_text("ended")


def test_an_archive_is_shut_withdrawn_with_a_reason_and_published_again(visitor: Page, stack: Stack) -> None:
    page, word = visitor, os.urandom(4).hex()
    archive = stack.deposit(_bag(word), title=f"Published {word}")
    stack.finished(archive)
    mine, readers = (f"{stack.urls[which]}/archives/{archive}" for which in ("registry", "access"))
    page.goto(mine)
    page.get_by_label("Embargo until").fill("2990-01-01")
    page.get_by_role("button", name="Set the embargo").click()
    expect(page.get_by_text("The files are under embargo until 2990-01-01.").first).to_be_visible()
    page.goto(readers)
    expect(page.get_by_text("under embargo until 2990-01-01")).to_be_visible()
    page.goto(mine)
    page.get_by_label("Embargo until").fill("")
    page.get_by_role("button", name="Set the embargo").click()
    expect(page.get_by_text("Published on access-pages.")).to_be_visible()
    page.locator("#withdrawal > summary").click()
    page.get_by_label("Reason", exact=True).last.select_option("copyright")
    page.get_by_label("What the tombstone says").fill("the heirs")
    page.get_by_role("button", name="Withdraw it").click()
    page.wait_for_url(mine)
    stack.until(lambda: httpx.get(readers).status_code == 410 or None, 90, every=0.5)
    page.goto(mine)
    expect(page.get_by_text("It is published nowhere.")).to_be_visible()
    assert stack.archive(archive)["state"] == "completed"
    page.get_by_label("Even if it was withdrawn").check()
    page.get_by_role("button", name="Publish again").click()
    stack.until(lambda: httpx.get(readers).status_code == 200 or None, 90, every=0.5)
    page.goto(readers)
    expect(page.get_by_role("heading", level=1)).to_contain_text(word)
