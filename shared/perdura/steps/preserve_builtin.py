"""Preserve by the built-in engine: an accepted SIP becomes an AIP that stands on its own (archivematica.md 8).

The payload is streamed once, from the SIP in the store to the AIP in the store; on the way it is hashed, compared
with the SIP's manifests, identified and scanned. The same attempt always writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perdura import __version__
from perdura.outcome import ArchiveView, Outcome
from perdura.packages import aip_eark
from perdura.packages.aip import METS, AipWriter
from perdura.packages.aip_check import read_back
from perdura.packages.limits import limits_of
from perdura.packages.mets import SoftwareNote, measure, write
from perdura.ports import Ports
from perdura.premis.model import Agent
from perdura.steps.preserve_additions import changes
from perdura.steps.preserve_builtin_outcome import made
from perdura.steps.preserve_builtin_plan import EARK, Plan, bag_info_of, plan_of
from perdura.steps.preserve_copied import Copied
from perdura.steps.preserve_copy import copy
from perdura.steps.preserve_declared import SIP_JSON
from perdura.steps.preserve_document import document
from perdura.steps.preserve_events import NOT_DONE, Act, named_agent, tool_agent
from perdura.steps.preserve_history import History, gather
from perdura.steps.preserve_refused import refused, unavailable
from perdura.steps.preserve_rights import statements
from perdura.steps.preserve_rights_read import sip_json_of
from perdura.steps.preserve_scanning import virus_checks
from perdura.steps.preserve_submission import open_submission
from perdura.storage.timed import timed

WHOLE = ("sha256", "sha512", "adler32")
"""Digests of the whole tar."""


def run(archive: ArchiveView, ports: Ports) -> Outcome:
    """Make the AIP, read it back, and say what it is.

    FAILED with `fixity-mismatch` or `infected` when the SIP is not what was accepted or carries malware; BLOCKED
    when a required scan cannot be had. Raises Rejected without an accepted SIP, Retryable when the store fails, TimeUp
    when the package is too large for one invocation: nothing of it is registered then.
    """
    plan = plan_of(archive, ports)
    if (outcome := unavailable(plan.scanning, ports)) is not None:
        return outcome
    bucket = ports.settings.bucket_aips
    with (
        ports.store.writer(
            bucket, plan.key, algorithms=WHOLE, content_type="application/x-tar", retain_until=plan.retain_until
        ) as sink,
        AipWriter(sink, str(archive.id), archive.created_at or plan.created) as aip,
        History() as history,
    ):
        submission = open_submission(timed(ports.store, ports.deadline.near), plan.sip, limits_of(ports.settings))
        copied = copy(submission, aip, plan.layout, ports, plan.scanning.scanner, plan.sip.size, plan.additions)
        refusal = refused(plan.scanning, copied.mismatches, copied.files, plan.about_sip, ports)
        if refusal is not None:
            return refusal
        gather(history, plan, submission, copied)
        del submission  # what its container knows of 100,000 members is not needed twice
        acts = _acts(plan, copied)
        _describe(plan, aip, copied, acts, history)
        aip.finish(bag_info_of(plan))
        written = sink.finish()
        read_back(timed(ports.store, ports.deadline.near), written)
        return made(plan, aip, copied, acts, history, written)


def poll(archives: Sequence[ArchiveView], ports: Ports) -> Sequence[tuple[ArchiveView, Outcome]]:  # noqa: ARG001
    """Nothing of this engine waits for anybody."""
    return ()


def _acts(plan: Plan, copied: Copied) -> list[Act]:
    provenance, files = plan.provenance, copied.files
    acts = [provenance.fixity(copied.declarations.algorithms, len(files)), provenance.digests(len(files))]
    if plan.ports.identifier is not None:
        acts += provenance.identification(plan.ports.identifier.tool, files)
    for told in copied.characterising.told:
        acts += provenance.characterisation(told.tool, told.path, told.files, [note for note, _ in told.notes])
    acts += virus_checks(plan.scanning, provenance, files)
    if plan.predecessor is not None:
        acts.append(provenance.version(str(plan.predecessor.id), plan.reason, changes(plan.additions)))
    acts.append(provenance.creation())
    return acts


def _agents(plan: Plan, copied: Copied, acts: Sequence[Act], history: History) -> list[Agent]:
    """Every agent that an event names, once: those known here or to the log in full, others by what events say."""
    known = [plan.provenance.software(), plan.provenance.institution(), *history.agents]
    if plan.ports.identifier is not None:
        known.append(tool_agent(plan.ports.identifier.tool))
    known += [tool_agent(each.tool) for each in copied.characterising.told]
    if plan.scanning.engine:
        known.append(tool_agent(plan.scanning.engine))
    agents = {(agent.identifier.type, agent.identifier.value): agent for agent in known}
    ours = [(link.type, link.value) for act in acts for link in act.event.agents]
    named = [each for each in dict.fromkeys((*history.named, *ours)) if each not in agents]
    logged: Callable[[Sequence[str]], Sequence[Agent]] = (plan.ports.extras or {}).get("known_agents", lambda _: ())
    registered = {
        (agent.identifier.type, agent.identifier.value): agent for agent in logged([each[1] for each in named])
    }
    return [*agents.values(), *(registered.get(each) or named_agent(*each) for each in named)]


def _describe(plan: Plan, aip: AipWriter, copied: Copied, acts: Sequence[Act], history: History) -> None:
    declared = copied.declarations
    sip_json = sip_json_of(declared.text(SIP_JSON) or b"")
    mets = document(
        plan.archive,
        str(plan.aip),
        str(plan.ports.derived("representation")),
        plan.created,
        copied,
        acts,
        history,
        _agents(plan, copied, acts, history),
        statements(plan.archive, declared.bag_info, sip_json, copied.rights, plan.ports.derived),
        SoftwareNote("Perdura preserve", __version__, (NOT_DONE,)),
        str(plan.predecessor.id) if plan.predecessor else None,
    )
    if plan.profile == EARK:
        aip_eark.describe(aip, mets)
    else:
        aip.add(METS, measure(mets), write(mets))
