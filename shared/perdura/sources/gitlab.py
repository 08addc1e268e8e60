"""Projects of GitLab: every file of the default branch, a git bundle with the whole history, and the project export
with what Git does not know: issues, merge requests, wiki (harvesting.md 1.2).

Nothing is cloned, so no token can end in a `.git/config`; it travels in a header to GitLab's own address only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from perdura.clients.http import Answer, HttpClient, UpstreamRefused, status_error
from perdura.sources.catalogue import Recognised
from perdura.sources.git_bundle import address, refs
from perdura.sources.gitlab_export import Drop, export
from perdura.sources.json_values import items, mapping, text
from perdura.sources.plan import Capture, Plan, Skipped, UpstreamFile, planned

PAGES = 10_000
"""Most pages of the tree: a bound, not an expectation."""

EMPTY_BLOBS = frozenset(
    {
        "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
    }
)
"""What Git calls a file without a byte, by SHA-1 and by SHA-256: the tree tells no other size."""

_TOKENS = re.compile(rb'(?P<member>"(?:runners_token|import_url|[a-z_]*_token)"\s*:\s*)"(?:[^"\\]|\\.)+"')


def plan(
    record: Recognised,
    client: HttpClient,
    git: HttpClient | None = None,
    drop: Drop | None = None,
    *,
    look_only: bool = False,
) -> Plan:
    """List the project and the whole tree, have the export made, and plan files, bundle and export.

    `git` speaks to the Git server, which wants the token in another header than the API. GitLab puts the export into
    `drop`; without one it is downloaded. With `look_only` none is asked for, and none is planned. The files are those
    of one commit, the one that the bundle has for the default branch. Raises Preparing while the export is being made,
    UpstreamRefused, UpstreamUnavailable.
    """
    api = f"{record.base_url}/api/v4/projects/{quote(record.recid, safe='')}"
    project_answer, warnings = _without_tokens(client.get(api))
    project = mapping(_json(project_answer))
    captures = [Capture.of(project_answer, "project.json")]
    name = text(project, "path") or record.recid
    branch = text(project, "default_branch") or "HEAD"
    bundle = _bundle(project, name, git or client)
    ref = bundle.commits.get(f"refs/heads/{branch}", branch) if bundle else branch
    tree, pages = _tree(api, ref, client)
    captures += pages
    files = [_file(api, ref, item) for item in tree if item.get("type") == "blob" and text(item, "path")]
    if bundle is None:
        warnings.append("GitLab did not show the Git repository, so its history is not kept")
    elif bundle.file is not None:
        captures.append(bundle.capture)
        files.append(bundle.file)
    if not look_only:
        exported = export(api, f"repository_metadata/{name}_export.tar.gz", client, drop)
        if exported is None:
            warnings.append("GitLab refused the project export, which needs a maintainer's token: issues are not kept")
        else:
            captures.append(exported[0])
            files.append(exported[1])
    return Plan(
        source=record.source,
        recid=record.recid,
        url=text(project, "web_url") or record.url,
        title=text(project, "name_with_namespace") or name,
        captures=tuple(captures),
        files=planned(files),
        revision=text(project, "last_activity_at"),
        metadata={"resource_type": "software", "description": project.get("description") or ""},
        restricted=project.get("visibility") in ("private", "internal"),
        skipped=tuple(
            Skipped(str(item.get("path")), "", "a submodule: another repository")
            for item in tree
            if item.get("type") == "commit"
        ),
        warnings=tuple(warnings),
    )


def current_revision(record: Recognised, client: HttpClient) -> str | None:
    """When the project last changed."""
    answer = client.get(f"{record.base_url}/api/v4/projects/{quote(record.recid, safe='')}")
    return text(_json(answer), "last_activity_at")


def _file(api: str, ref: str, item: Mapping[str, Any]) -> UpstreamFile:
    path = str(item["path"])
    url = f"{api}/repository/files/{quote(path, safe='')}/raw?ref={quote(ref, safe='')}"
    size = 0 if item.get("id") in EMPTY_BLOBS else None
    return UpstreamFile(f"repository_files/{path}", url, size, title=f"blob {item.get('id')}")


def _without_tokens(answer: Answer) -> tuple[Answer, list[str]]:
    """The project's answer without what only its maintainers see: a secret does not belong into a package."""
    body, found = _TOKENS.subn(rb'\g<member>"REDACTED"', answer.body)
    warnings = [f"{found} tokens that GitLab shows to maintainers were left out of project.json"] if found else []
    return (replace(answer, body=body) if found else answer), warnings


def _json(answer: Answer) -> Any:
    if answer.status not in (200, 201, 202):
        raise status_error(answer.status, answer.headers, answer.url)
    return answer.json()


def _tree(api: str, ref: str, client: HttpClient) -> tuple[list[Mapping[str, Any]], list[Capture]]:
    """Every page of the recursive tree; their number of entries must be what GitLab announced."""
    entries: list[Mapping[str, Any]] = []
    captures = []
    announced = None
    for page in range(1, PAGES + 1):
        url = f"{api}/repository/tree?recursive=true&per_page=100&page={page}&ref={quote(ref, safe='')}"
        answer = client.get(url)
        if answer.status == 404 and page == 1:
            return [], []
        found = [mapping(item) for item in items(_json(answer))]
        captures.append(Capture.of(answer, f"tree-{page}.json"))
        entries += found
        total = answer.header("x-total")
        announced = int(total) if total and total.isdecimal() else announced
        following = answer.header("x-next-page")
        pages = answer.header("x-total-pages")
        if following is not None:
            if not following.strip():
                break
        elif pages is not None and pages.isdecimal():
            if page >= int(pages):
                break
        elif len(found) < 100:
            break
    if announced is not None and announced != len(entries):
        raise UpstreamRefused(
            f"GitLab announced {announced} entries of the tree and listed {len(entries)}.", code="upstream-file-list"
        )
    return entries, captures


@dataclass(frozen=True, slots=True)
class _Bundle:
    """The refs as they were listed, what each points at, and the bundle of them (None for an empty repository)."""

    capture: Capture
    commits: Mapping[str, str]
    file: UpstreamFile | None


def _bundle(project: Mapping[str, Any], name: str, git: HttpClient) -> _Bundle | None:
    """The refs as they were listed, and the bundle of what they point at: no file for an empty repository.

    None where the repository is not shown to us.
    """
    repository = text(project, "http_url_to_repo")
    if repository is None:
        return None
    git.reach.check(repository)
    try:
        found, answer = refs(git, repository)
    except UpstreamRefused as refused:
        if refused.code in ("upstream-closed", "upstream-not-found"):
            return None
        raise
    capture = Capture.of(answer, "refs.txt")
    if not found:
        return _Bundle(capture, found, None)
    key = f"repository_metadata/{name}.bundle"
    file = UpstreamFile(key, address(repository, found), media_type="application/x-git-bundle")
    return _Bundle(capture, found, file)
