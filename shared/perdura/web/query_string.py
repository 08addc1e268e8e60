"""What a page is sent as a model, and the address of a page back from one: filters live in the URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, get_origin
from urllib.parse import urlencode

from pydantic import BaseModel, ValidationError

from perdura.api.models.archives import ArchiveFilter
from perdura.api.problems import invalid
from perdura.web.visit import Visit

Model = TypeVar("Model", bound=BaseModel)


def read_query(visit: Visit, model: type[Model]) -> Model:
    """The address's parameters as a model; what was left empty in a form is as if it were not there."""
    return read_values(visit.request.args, model)


def read_values(given: Any, model: type[Model]) -> Model:
    """Parameters or fields (a MultiDict) as a model. Raises a 422 that names what is wrong."""
    sent: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        values = [value for value in given.getlist(name) if value]
        if values:
            sent[name] = values if get_origin(field.annotation) is list else values[-1]
    return checked(model, sent, "query")


def checked(model: type[Model], values: Mapping[str, Any], where: str = "form") -> Model:
    """The values of a form (or of what `where` names) as a model. Raises a 422 that names what is wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise invalid(error, where) from None


def address(query: ArchiveFilter, changes: Mapping[str, Any], *, at: str = "/archives") -> str:
    """The address of the same list with some filters changed; paging starts again unless a cursor is given."""
    given = {name: value for name, value in (query.given() | dict(changes)).items() if value}
    return at + (f"?{urlencode(given, doseq=True)}" if given else "")
