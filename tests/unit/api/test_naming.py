"""Every id that a request names is found, wherever it stands; and no operation takes an id that would not be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin
from uuid import UUID

import pytest
from pydantic import BaseModel

from perdura.accounts.rights import Thing
from perdura.api import naming
from perdura.api.naming import ArchiveId, CollectionId, Hidden, Named, PackageId, PlainId, StepId
from perdura.api.operations import Operation
from perdura.api.resources import OPERATIONS
from perdura.ids import new_id

A, B, C, D = (new_id() for _ in range(4))


class Part(BaseModel):
    package: PackageId
    steps: list[StepId] = []


class Bulk(BaseModel):
    archives: list[ArchiveId]
    collection: CollectionId | None = None
    parts: dict[str, Part] = {}
    either: list[ArchiveId] | str = "all"
    nested: list[tuple[ArchiveId, ...]] = []
    keyed: dict[ArchiveId, str] = {}
    run: PlainId | None = None


def test_ids_are_found_at_any_depth() -> None:
    sent = Bulk(
        archives=[A, B], collection=C, parts={"x": Part(package=D, steps=[A])}, either=[B], nested=[(C, D)],
        keyed={D: "d"}, run=A,
    )  # fmt: skip
    assert list(naming.in_model(sent, "body")) == [
        Named(Thing.ARCHIVE, A, "body.archives.0"),
        Named(Thing.ARCHIVE, B, "body.archives.1"),
        Named(Thing.COLLECTION, C, "body.collection"),
        Named(Thing.PACKAGE, D, "body.parts.x.package"),
        Named(Thing.STEP, A, "body.parts.x.steps.0"),
        Named(Thing.ARCHIVE, B, "body.either.0"),
        Named(Thing.ARCHIVE, C, "body.nested.0.0"),
        Named(Thing.ARCHIVE, D, "body.nested.0.1"),
        Named(Thing.ARCHIVE, D, "body.keyed"),
    ]


def test_it_is_known_which_requests_may_name_hidden_things() -> None:
    class Plain(BaseModel):
        run: PlainId
        names: list[str] = []

    class Deep(BaseModel):
        parts: list[Part] | None = None

    assert [naming.names_things(model) for model in (Bulk, Deep, Part, Plain)] == [True, True, True, False]


def test_variables_of_a_path_are_known_by_their_names() -> None:
    variables = {"archive_id": A, "package_id": B, "token_id": C, "path": "a/b", "name": "x"}
    assert list(naming.in_path(variables)) == [Named(Thing.ARCHIVE, A), Named(Thing.PACKAGE, B)]


def test_a_hidden_id_of_a_body_is_told_by_its_field_and_one_of_the_path_is_not() -> None:
    assert [error.field for error in Hidden([Named(Thing.ARCHIVE, A, "body.archives.3")]).errors] == ["body.archives.3"]
    both = Hidden([Named(Thing.ARCHIVE, A, "body.archives.3"), Named(Thing.COLLECTION, B)])
    assert (both.status, both.errors, both.detail) == (404, (), "There is no such collection.")


def _unmarked(annotation: Any, marked: bool, where: str) -> Iterator[str]:
    if annotation is UUID and not marked:
        yield where
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        yield from _unmarked(inner, marked or any(isinstance(mark, Thing) or mark == "plain" for mark in marks), where)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, info in annotation.model_fields.items():
            known = any(isinstance(mark, Thing) or mark == "plain" for mark in info.metadata)
            yield from _unmarked(info.annotation, known, f"{where}.{name}")
    else:
        for choice in get_args(annotation):
            yield from _unmarked(choice, marked, where)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_no_operation_takes_an_id_that_is_not_checked(operation: Operation) -> None:
    """Name the variable `<thing>_id`, or annotate the member with one of the types of perdura.api.naming."""
    known = naming.PLAIN | {thing.value for thing in Thing}
    for name, kind in operation.variables:
        assert kind is not UUID or name.removesuffix("_id") in known, name
    for model in (operation.body, operation.query):
        if model is not None:
            assert list(_unmarked(model, False, model.__name__)) == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_reading_never_suffices_to_change_anything(operation: Operation) -> None:
    """The peer let anybody who could see an Archive delete its queued steps."""
    if operation.method != "GET":
        assert operation.permission is not None
        assert operation.permission.value not in {"read", "read-restricted"}
    assert operation.permission is not None or operation.name == "get_health"
