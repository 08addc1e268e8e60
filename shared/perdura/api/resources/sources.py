"""Sources: which there are, searching them, and the caller's credentials for them."""

from __future__ import annotations

from uuid import UUID

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api.models.sources import (
    CredentialAnswer,
    CredentialList,
    CredentialRequest,
    HitAnswer,
    HitPage,
    Renewed,
    SearchQuery,
    SourceAnswer,
    SourceList,
)
from perdura.api.operations import Call, Section
from perdura.api.problems import FieldError, Problem, blaming, not_found
from perdura.recordable import recordable
from perdura.registry import credentials, subscription_secrets
from perdura.runtime.budget import registry_budget
from perdura.runtime.extras import credential_of
from perdura.sources import listing, search
from perdura.sources.profile import Profile, profiles

section = Section("Sources")


@section.get("/sources", permission=Permission.READ)
def list_sources(call: Call) -> SourceList:
    """List the sources that can be harvested, and what each of them can be asked."""
    account = call.principal.account
    kept = {each.source for each in credentials.kept(call.connection, account)} if account else set()
    return SourceList(
        items=[
            SourceAnswer(
                id=profile.id,
                name=profile.name,
                protocol=profile.protocol,
                url=profile.base_url or None,
                searchable=profile.protocol in search.SEARCHERS,
                listed_by=listing.ways(profile),
                takes_credential=profile.auth != "none",
                has_credential=profile.id in kept,
            )
            for profile in profiles(call.services.settings).values()
        ]
    )


@section.get("/sources/<source>/search", permission=Permission.DEPOSIT)
def search_source(call: Call, source: str, query: SearchQuery) -> HitPage:
    """Search a source with the caller's credential for it; `q` is in the source's own syntax."""
    profile = _profile(call, source)
    token = credential_of(call.services.engine, call.services.settings, call.principal.account, source)
    far = query.page * query.size > search.WINDOW
    with registry_budget(call.services.engine, profile) as budget, blaming("query.page" if far else "query.q"):
        found = search.search(
            source,
            query.q,
            call.services.settings,
            page=query.page,
            page_size=query.size,
            sort=query.sort,
            token=token,
            budget=budget,
        )
    return HitPage(
        total=found.total,
        page=found.page,
        items=[
            HitAnswer(
                source=hit.source,
                recid=hit.recid,
                title=hit.title,
                url=hit.url,
                creators=list(hit.creators),
                updated=hit.updated,
                status=hit.status,
                bytes=hit.bytes,
            )
            for hit in recordable(found.hits)
        ],
    )


@section.get("/credentials", permission=Permission.DEPOSIT)
def list_credentials(call: Call) -> CredentialList:
    """For which sources the caller keeps a credential. The credentials themselves are never given back."""
    kept = credentials.kept(call.connection, _account(call))
    return CredentialList(items=[_answer(each) for each in kept])


@section.put("/credentials/<source>", permission=Permission.DEPOSIT)
def put_credential(call: Call, source: str, body: CredentialRequest) -> CredentialAnswer:
    """Keep a credential for a source, encrypted; the caller's harvests use it from now on."""
    profile = _profile(call, source)
    if profile.auth == "none":
        told = FieldError("path.source", "takes no credential")
        raise Problem(422, f"{profile.name} takes no credential.", "no-credential-taken", (told,))
    _require_keys(call)
    call.detail["source"] = source
    secret = body.secret.get_secret_value()
    if not secret.isascii() or not secret.isprintable():
        told = FieldError("body.secret", "not one line of ASCII text")
        raise Problem(422, "A credential is one line of ASCII text.", "invalid", (told,))
    return _answer(credentials.put(call.connection, call.services.settings, _account(call), source, secret))


@section.delete("/credentials/<source>", permission=Permission.DEPOSIT, status=204)
def delete_credential(call: Call, source: str) -> Response:
    """Forget the caller's credential for a source."""
    call.detail["source"] = source
    credentials.remove(call.connection, _account(call), source)
    return Response(status=204)


@section.post("/credentials/renewal", permission=Permission.ADMINISTER)
def renew_credentials(call: Call) -> Renewed:
    """Encrypt all credentials and secrets of subscriptions with the newest key, so that older keys can go."""
    _require_keys(call)
    number = 0
    while moved := credentials.renew(call.connection, call.services.settings):
        number += moved
    while moved := subscription_secrets.seal_anew(call.connection, call.services.settings):
        number += moved
    return Renewed(credentials=number, unreadable=credentials.unreadable(call.connection, call.services.settings))


def _profile(call: Call, source: str) -> Profile:
    profile = profiles(call.services.settings).get(source)
    if profile is None:
        raise not_found("source")
    return profile


def _require_keys(call: Call) -> None:
    if call.services.settings.credential_keys is None:
        raise Problem(409, "No keys are set here with which credentials could be kept.", "no-credential-key")


def _account(call: Call) -> UUID:
    if call.principal.account is None:
        raise Problem(403, "Only an account can keep credentials.", "forbidden")
    return call.principal.account


def _answer(kept: credentials.Kept) -> CredentialAnswer:
    return CredentialAnswer(source=kept.source, created=kept.created_at, updated=kept.updated_at, used=kept.used_at)
