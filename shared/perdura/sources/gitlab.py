"""Projects of GitLab: every file of the default branch, a git bundle with the whole history, and the project export
with what Git does not know: issues, merge requests, wiki (harvesting.md 1.2).

Nothing is cloned, so no token can end in a `.git/config`; it travels in a header to GitLab's own address only.
"""

from __future__ import annotations

from collections.abc import Mapping
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


def plan(record: Recognised, client: HttpClient, git: HttpClient | None = None, drop: Drop | None = None) -> Plan:
    """List the project and the whole tree, have the export made, and plan files, bundle and export.

    `git` speaks to the Git server, which wants the token in another header than the API. GitLab puts the export into
    `drop`; without one it is downloaded. Raises Preparing while the export is being made, UpstreamRefused,
    UpstreamUnavailable.
    """
    api = f"{record.base_url}/api/v4/projects/{quote(record.recid, safe='')}"
    project_answer = client.get(api)
    project = mapping(_json(project_answer))
    captures = [Capture.of(project_answer, "project.json")]
    ref = text(project, "default_branch") or "HEAD"
    tree, pages = _tree(api, ref, client)
    captures += pages
    files = [_file(api, ref, item) for item in tree if item.get("type") == "blob" and text(item, "path")]
    name = text(project, "path") or record.recid
    warnings: list[str] = []
    bundle = _bundle(project, name, git or client)
    if bundle is None:
        warnings.append("GitLab did not show the Git repository, so its history is not kept")
    elif bundle[1] is not None:
        captures.append(bundle[0])
        files.append(bundle[1])
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
    return UpstreamFile(f"repository_files/{path}", url, title=f"blob {item.get('id')}")


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


def _bundle(project: Mapping[str, Any], name: str, git: HttpClient) -> tuple[Capture, UpstreamFile | None] | None:
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
        return capture, None
    key = f"repository_metadata/{name}.bundle"
    return capture, UpstreamFile(key, address(repository, found), media_type="application/x-git-bundle")
