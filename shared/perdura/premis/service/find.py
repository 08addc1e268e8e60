"""The newest event of an object and a type: GET /event/find/<object>/<type>/ (premis.md 1.11)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from sqlalchemy.engine import Connection
from werkzeug.wrappers import Response

from perdura.premis import log, query
from perdura.premis.query import Sight
from perdura.premis.query.sql import Sql, seen
from perdura.premis.rows import object_key
from perdura.premis.service import atom, parameters
from perdura.premis.service.call import Call, Refused, shown

_ARK = re.compile(r"ark:/?[^/]+/[^/]+")
_MOST_SPLITS = 40
_MOST_OBJECTS = 10_000
"""Objects whose events are looked at."""
_MOST_NAMES = 100_000
"""Identifiers that are looked through for a part of one: about a second."""


def newest(call: Call, wanted: str) -> Response:
    """The event with the greatest date among those that match the first split of the path that finds any."""
    if "\0" in wanted:
        raise Refused(400, "The path may not contain NUL.")
    version = parameters.version(call.parameters("version"))
    with call.reading() as connection:
        for object_, type_ in splits(wanted):
            kinds = query.kinds_of(connection, query.Filter(type=type_ or None))
            if not object_ or not kinds.rows:
                continue
            found = _newest(connection, object_, kinds.ids, call.sight)
            if found is not None:
                body = atom.event_entry(found, call.urls, call.settings.premis_author, version)
                return Response(body, content_type=atom.ENTRY_TYPE)
    raise Refused(404, "There is no event for matching those parameters")


def splits(wanted: str) -> Iterator[tuple[str, str]]:
    """(object, type) in the order they are tried: first slash, after an ARK's name, each further slash, all object."""
    wanted = wanted.removesuffix("/")
    slashes = [at for at, character in enumerate(wanted) if character == "/"][:_MOST_SPLITS]
    ark = _ARK.match(wanted)
    if ark is not None and ark.end() in slashes[1:]:
        slashes.remove(ark.end())
        slashes.insert(1, ark.end())
    for at in slashes:
        yield wanted[:at], wanted[at + 1 :]
    yield wanted, ""


def _newest(connection: Connection, object_: str, kinds: Sequence[int], sight: Sight | None) -> log.Stored | None:
    key = object_key(object_)
    exact = connection.exec_driver_sql(
        "SELECT EXISTS (SELECT FROM premis_object WHERE object = %s) "
        "OR EXISTS (SELECT FROM premis_object WHERE bare = %s)",
        (key, key),
    ).scalar_one()
    sql = Sql(["SELECT x.event_id FROM ("])
    if exact:
        _newest_where(sql, Sql(["object = %s"], [key]), kinds, sight).add("UNION ALL")
        _newest_where(sql, Sql(["bare = %s"], [key]), kinds, sight)
    else:
        objects = _containing(connection, object_)
        if not objects:
            return None
        sql.add("SELECT n.* FROM unnest(CAST(%s AS text[])) AS q(name) CROSS JOIN LATERAL", objects)
        _newest_where(sql, Sql(["object = q.name"]), kinds, sight).add("n")
    found = sql.add(") x ORDER BY x.at DESC, x.identifier DESC LIMIT 1").run(connection).scalar()
    return log.find(connection, found) if found is not None else None


def _newest_where(sql: Sql, named: Sql, kinds: Sequence[int], sight: Sight | None) -> Sql:
    """Add a query of the newest event whose object is named so."""
    sql.add("(SELECT event_id, at, identifier FROM premis_object WHERE").add(" ".join(named.parts), *named.values)
    sql.add("AND kind_id = ANY (CAST(%s AS bigint[]))", list(kinds))
    return seen(sql, query.Filter(sight=sight)).add("ORDER BY at DESC, identifier DESC LIMIT 1)")


def _containing(connection: Connection, part: str) -> list[str]:
    """Objects whose identifier contains a text: their distinct names are walked along the index, not their events.

    Raises Refused when there are too many names to look through, or too many that contain it: the newest event could
    then be one that was not looked at.
    """
    walked, found = connection.exec_driver_sql(
        "WITH RECURSIVE name(object) AS ((SELECT object FROM premis_object ORDER BY object LIMIT 1) UNION ALL "
        "SELECT (SELECT o.object FROM premis_object o WHERE o.object > name.object ORDER BY o.object LIMIT 1) "
        "FROM name WHERE name.object IS NOT NULL) "
        "SELECT count(*), coalesce(json_agg(object) FILTER (WHERE position(%s IN object) > 0), '[]')::text "
        "FROM (SELECT object FROM name WHERE object IS NOT NULL LIMIT %s) walked",
        (part, _MOST_NAMES + 1),
    ).one()
    names: list[str] = json.loads(found)
    if walked > _MOST_NAMES or len(names) > _MOST_OBJECTS:
        raise Refused(
            400,
            f"object {shown(part)!r}: a part of an identifier is looked for among at most {_MOST_NAMES} objects, "
            f"and may match at most {_MOST_OBJECTS}; give the whole identifier, or the name of an ARK.",
        )
    return names
