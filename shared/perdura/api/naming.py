"""The ids that a request names, wherever they stand, checked against the caller's object rights before it is obeyed.

A variable of a path that is called `<thing>_id` names a thing; so does every value in a body or query whose type is
marked, `ArchiveId` for one, however deep in lists and objects it lies. Bulk operations are thereby checked like single
ones: one statement for all ids of a request, and one hidden id refuses the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.engine import Connection
from sqlalchemy.orm import InstrumentedAttribute

from perdura.accounts import rights
from perdura.accounts.principals import Principal
from perdura.accounts.rights import Thing
from perdura.api.problems import FieldError, Problem, not_found

ArchiveId = Annotated[UUID, Thing.ARCHIVE]
CollectionId = Annotated[UUID, Thing.COLLECTION]
DepositId = Annotated[UUID, Thing.DEPOSIT]
PackageId = Annotated[UUID, Thing.PACKAGE]
StepId = Annotated[UUID, Thing.STEP]

PLAIN = frozenset({"batch", "grant", "job", "run", "schedule", "subscription", "token", "user"})
"""Kinds of things without object rights, `<kind>_id` in a path: the permission of their operations decides."""

PlainId = Annotated[UUID, "plain"]
"""An id in a body or query of one of those."""

FIELDS_TOLD = 5


@dataclass(frozen=True, slots=True)
class Named:
    """One id of a request; `field` is where it stands, None in the path."""

    thing: Thing
    id: UUID
    field: str | None = None


class Hidden(Problem):
    """The 404 for things that are not there, or that the caller may not see; to the caller the two are the same."""

    def __init__(self, missing: Iterable[Named]) -> None:
        self.missing = tuple(missing)
        in_path = [named for named in self.missing if named.field is None]
        first = (in_path or list(self.missing))[0]
        fields = (
            ()
            if in_path
            else tuple(
                FieldError(named.field or "", f"there is no such {named.thing.value}")
                for named in self.missing[:FIELDS_TOLD]
            )
        )
        super().__init__(404, f"There is no such {first.thing.value}.", "not-found", fields)


class SomebodyElses(Problem):
    """The 404 for what another account has: to the caller as if it were not there, but told to the audit log."""

    def __init__(self, what: str, identifier: UUID) -> None:
        self.id = identifier
        super().__init__(404, f"There is no such {what}.", "not-found")


def missing(
    connection: Connection, what: str, column: InstrumentedAttribute[UUID], identifier: UUID
) -> SomebodyElses | Problem:
    """The 404 for a thing that the caller does not have, whose ids stand in `column`."""
    there = connection.execute(select(column).where(column == identifier)).first() is not None
    return SomebodyElses(what, identifier) if there else not_found(what)


def plain_in_path(variables: Mapping[str, Any]) -> Iterator[UUID]:
    """The ids of things without object rights that the variables of a path name, for the audit log."""
    for name, value in variables.items():
        if name.removesuffix("_id") in PLAIN and isinstance(value, UUID):
            yield value


def in_path(variables: Mapping[str, Any]) -> Iterator[Named]:
    """The things that the variables of a path name."""
    for name, value in variables.items():
        thing, _, end = name.rpartition("_")
        if end == "id" and thing in _THINGS and isinstance(value, UUID):
            yield Named(Thing(thing), value)


_THINGS = frozenset(thing.value for thing in Thing)


def in_model(model: BaseModel, where: str) -> Iterator[Named]:
    """The things that a body or query names, at any depth."""
    for name, info in type(model).model_fields.items():
        kinds = [mark for mark in info.metadata if isinstance(mark, Thing)]
        yield from _in_value(getattr(model, name), info.annotation, kinds, f"{where}.{name}")


def _in_value(value: Any, annotation: Any, kinds: list[Thing], where: str) -> Iterator[Named]:
    if value is None:
        return
    if get_origin(annotation) is Annotated:
        annotation, *marks = get_args(annotation)
        kinds = [mark for mark in marks if isinstance(mark, Thing)] or kinds
    if isinstance(value, UUID):
        yield from (Named(kind, value, where) for kind in kinds)
        for choice in get_args(annotation):
            yield from _in_value(value, choice, [], where)
    elif isinstance(value, BaseModel):
        yield from in_model(value, where)
    elif isinstance(value, Mapping):
        inner = (*get_args(annotation), Any, Any)
        for key, item in value.items():
            yield from _in_value(key, inner[0], [], where)
            yield from _in_value(item, inner[1], kinds, f"{where}.{key}")
    elif isinstance(value, (list, tuple, set, frozenset)):
        for choice in _of_lists(annotation):
            for position, item in enumerate(value):
                yield from _in_value(item, choice, kinds, f"{where}.{position}")


def _of_lists(annotation: Any) -> Iterator[Any]:
    """What the members of a list may be, the list being one of several choices perhaps."""
    if get_origin(annotation) in {list, tuple, set, frozenset}:
        yield from (choice for choice in get_args(annotation) if choice is not Ellipsis)
    else:
        for choice in get_args(annotation):
            yield from _of_lists(choice)


def names_things(model: type[BaseModel]) -> bool:
    """Whether a body or query of this kind may name things that can be hidden."""
    return any(
        any(isinstance(mark, Thing) for mark in info.metadata) or _marks_things(info.annotation)
        for info in model.model_fields.values()
    )


def _marks_things(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return names_things(annotation)
    return any(isinstance(choice, Thing) or _marks_things(choice) for choice in get_args(annotation))


def check(connection: Connection, principal: Principal, named: Iterable[Named]) -> tuple[Named, ...]:
    """The named things, all of which the caller may see; raises Hidden otherwise."""
    wanted = tuple(named)
    seen = rights.visible(connection, principal, ((name.thing, name.id) for name in wanted))
    missing = [name for name in wanted if (name.thing, name.id) not in seen]
    if missing:
        raise Hidden(missing)
    return wanted
