"""Pipelines: named plans of steps, and whether steps can form one."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from perdura.accounts.principals import Permission
from perdura.api import links
from perdura.api.models.steering import (
    PipelineAnswer,
    PipelineList,
    PipelinePlanAnswer,
    PipelinePlanRequest,
    PipelineRequest,
)
from perdura.api.operations import Call, Section
from perdura.api.problems import FieldError, Problem, blaming, not_found
from perdura.api.queries.rows import AnyRow
from perdura.errors import Rejected
from perdura.registry.steering import more_steps
from perdura.registry.tables import Pipeline
from perdura.registry.transitions import FIRST_STEPS, check_pipeline

section = Section("Pipelines")

STANDARD = frozenset({"deposit", "harvest"})
"""Pipelines that the platform itself begins."""


def _answer(row: AnyRow) -> PipelineAnswer:
    return PipelineAnswer(
        name=row.name, steps=row.steps, description=row.description, links={"self": links.pipeline(row.name)}
    )


def _kept(call: Call, name: str) -> PipelineAnswer:
    row = call.connection.execute(select(Pipeline.__table__).where(Pipeline.name == name)).one_or_none()
    if row is None:
        raise not_found("pipeline")
    return _answer(row)


def _checked(name: str) -> str:
    if not 1 <= len(name) <= 50 or not all(c.isascii() and (c.isalnum() or c == "-") for c in name):
        told = FieldError("path.name", "letters, digits and hyphens, at most 50")
        raise Problem(422, "A pipeline's name has letters, digits and hyphens, at most 50.", "invalid", (told,))
    return name


@section.get("/pipelines", permission=Permission.READ)
def list_pipelines(call: Call) -> PipelineList:
    """All named pipelines."""
    rows = call.connection.execute(select(Pipeline.__table__).order_by(Pipeline.name)).all()
    return PipelineList(items=[_answer(row) for row in rows])


@section.post("/pipelines/plan", permission=Permission.OPERATE)
def plan_pipeline(call: Call, body: PipelinePlanRequest) -> PipelinePlanAnswer:
    """Say whether steps form a pipeline, and what may follow. Nothing is stored."""
    del call
    following = more_steps(body.steps) if body.steps else sorted(FIRST_STEPS)
    try:
        check_pipeline(body.steps)
    except Rejected as refused:
        return PipelinePlanAnswer(legal=False, reason=refused.message, next=following)
    return PipelinePlanAnswer(legal=True, reason=None, next=following)


@section.get("/pipelines/<string:name>", permission=Permission.READ)
def get_pipeline(call: Call, name: str) -> PipelineAnswer:
    """One named pipeline."""
    return _kept(call, name)


@section.put("/pipelines/<string:name>", permission=Permission.ADMINISTER)
def put_pipeline(call: Call, name: str, body: PipelineRequest) -> PipelineAnswer:
    """Make or replace a named pipeline. 422 when its steps cannot follow one another."""
    with blaming("body.steps"):
        check_pipeline(body.steps)
    values = {"steps": body.steps, "description": body.description}
    call.detail |= values
    call.connection.execute(
        insert(Pipeline)
        .values(name=_checked(name), **values)
        .on_conflict_do_update(index_elements=[Pipeline.name], set_=values)
    )
    return _kept(call, name)


@section.delete("/pipelines/<string:name>", permission=Permission.ADMINISTER, status=204)
def delete_pipeline(call: Call, name: str) -> None:
    """Forget a named pipeline; Archives keep theirs. 409 for the two standard ones."""
    if name in STANDARD:
        raise Problem(409, "The platform itself begins this pipeline; change it instead.", "standard-pipeline")
    if call.connection.execute(delete(Pipeline).where(Pipeline.name == name)).rowcount != 1:
        raise not_found("pipeline")
