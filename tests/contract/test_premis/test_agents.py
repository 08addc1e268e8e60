"""Registered agents, as they are looked up for an AIP."""

from __future__ import annotations

from sqlalchemy.engine import Engine

from perdura.premis import agents
from perdura.premis.model import Agent, Identifier
from perdura.premis.xml import agent_element, agent_from, parse
from perdura.runtime.extras import logged_agents
from tests.contract.test_premis.xsd import assert_valid


def test_the_agents_that_the_log_knows_are_given_as_they_are_there(engine: Engine) -> None:
    ada = Agent(Identifier("ORCID", "0000-0001-5109-3700"), "Ada Curator", "person", ("at the library",))
    tool = Agent(Identifier("software", "jhove 1.34"), "JHOVE", "software", version="1.34")
    with engine.begin() as connection:
        for each in (ada, tool, Agent(Identifier("local", "other"), "Other", "person")):
            agents.register(connection, each)
    found = logged_agents(engine, ["jhove 1.34", "0000-0001-5109-3700", "nobody", "a\0b"])
    assert [(each.identifier, each.name, each.type, each.notes, each.version) for each in found] == [
        (ada.identifier, "Ada Curator", "person", ("at the library",), None),
        (tool.identifier, "JHOVE", "software", (), "1.34"),
    ]
    assert logged_agents(engine, []) == []


def test_an_agent_is_valid_whatever_its_links_hold() -> None:
    links = "".join(
        f"<p:{name}Identifier LinkObjectXmlID='x'><p:{name}IdentifierType authority='a'>t</p:{name}IdentifierType>"
        f"<p:{name}IdentifierValue>v</p:{name}IdentifierValue><p:{name}Role>r</p:{name}Role></p:{name}Identifier>"
        for name in ("agent", "linkingEvent", "linkingRightsStatement", "linkingEnvironment")
    )
    named = f"{links}<p:agentName>n</p:agentName><p:agentType>t</p:agentType>"
    agent = agent_from(parse(f"<p:agent xmlns:p='http://www.loc.gov/premis/v3'>{named}</p:agent>".encode()))
    for version in ("2.3", "3.0"):
        assert_valid(agent_element(agent, version))
