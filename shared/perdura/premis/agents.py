"""Registered agents: made, changed and removed by those who may; events name agents freely, registered or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.engine import Connection

from perdura.errors import Conflict
from perdura.premis.model import Agent
from perdura.premis.xml import agent_from, agent_xml, parse


class AgentExists(Conflict):
    """An agent of that identifier exists."""

    code = "agent-exists"


@dataclass(frozen=True, slots=True)
class StoredAgent:
    """An agent in the log, its XML as it was sent."""

    identifier: str
    name: str
    type: str
    recorded_at: datetime
    changed_at: datetime
    xml: str

    @property
    def agent(self) -> Agent:
        """The agent as a value."""
        return agent_from(parse(self.xml.encode()), stored=True)

    def xml_in(self, version: str | None) -> str:
        """The agent element in PREMIS `2.3` or `3.0`; None means as it was sent."""
        return self.xml if version is None else agent_xml(self.agent, version)


_SELECT = "SELECT identifier, name, type, recorded_at, changed_at, xml FROM premis_agent"


def find(connection: Connection, identifier: str, *, to_change: bool = False) -> StoredAgent | None:
    """The agent of that identifier, or None; one that is found `to_change` it waits for the transaction."""
    if "\0" in identifier:
        return None
    alone = " FOR UPDATE" if to_change else ""
    found = connection.exec_driver_sql(f"{_SELECT} WHERE identifier = %s{alone}", (identifier,)).first()
    return StoredAgent(*found) if found else None


def among(connection: Connection, identifiers: Sequence[str]) -> list[StoredAgent]:
    """The agents of those identifiers that are registered."""
    wanted = [each for each in identifiers if "\0" not in each]
    found = connection.exec_driver_sql(
        _SELECT + " WHERE identifier = ANY(CAST(%s AS text[])) ORDER BY identifier", (wanted,)
    )
    return [StoredAgent(*each) for each in found]


def listed(connection: Connection, offset: int = 0, limit: int | None = None) -> list[StoredAgent]:
    """Agents by name, then identifier."""
    found = connection.exec_driver_sql(
        _SELECT + " ORDER BY name, identifier OFFSET %s LIMIT %s", (offset, limit if limit is not None else 100_000)
    )
    return [StoredAgent(*each) for each in found]


def count(connection: Connection) -> int:
    """How many agents there are."""
    return int(connection.exec_driver_sql("SELECT count(*) FROM premis_agent").scalar_one())


def create(connection: Connection, agent: Agent) -> StoredAgent:
    """Register an agent; raises AgentExists."""
    made = register(connection, agent)
    if made is None:
        raise AgentExists("Conflict with already-existing resource.")
    return made


def register(connection: Connection, agent: Agent) -> StoredAgent | None:
    """Register an agent; None when there is one of that identifier, which stays as it is."""
    now = datetime.now(UTC)
    stored = StoredAgent(agent.identifier.value, agent.name, str(agent.type), now, now, agent_xml(agent))
    made = connection.exec_driver_sql(
        "INSERT INTO premis_agent (identifier, name, type, recorded_at, changed_at, xml) "
        "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING identifier",
        (stored.identifier, stored.name, stored.type, now, now, stored.xml),
    ).first()
    return stored if made is not None else None


def replace(connection: Connection, agent: Agent) -> StoredAgent | None:
    """Change a registered agent; None when there is none of that identifier."""
    found = connection.exec_driver_sql(
        "UPDATE premis_agent SET name = %s, type = %s, changed_at = %s, xml = %s WHERE identifier = %s "
        "RETURNING identifier, name, type, recorded_at, changed_at, xml",
        (agent.name, str(agent.type), datetime.now(UTC), agent_xml(agent), agent.identifier.value),
    ).first()
    return StoredAgent(*found) if found else None


def delete(connection: Connection, identifier: str) -> bool:
    """Remove a registered agent; no event changes. False when there is none."""
    if "\0" in identifier:
        return False
    found = connection.exec_driver_sql(
        "DELETE FROM premis_agent WHERE identifier = %s RETURNING identifier", (identifier,)
    ).first()
    return found is not None
