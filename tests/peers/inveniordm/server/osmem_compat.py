"""What osmem 0.1.6 lacks: the percolate query. Answer OAI set membership with plain searches instead."""

from flask import current_app
from invenio_oaiserver import percolator, receivers, response
from invenio_oaiserver.models import OAISet
from invenio_oaiserver.query import query_string_parser
from invenio_search import current_search_client
from invenio_search.utils import build_alias_name


def sets_search_all(records):
    """For each record the specs of the sets whose search pattern it matches."""
    if not records:
        return []
    index = build_alias_name(str(current_app.config["OAISERVER_RECORD_INDEX"]))
    ids = [record["id"] for record in records]
    specs = {id_: [] for id_ in ids}
    for oai_set in OAISet.query.all():
        if not oai_set.search_pattern:
            continue
        query = {
            "bool": {
                "must": [query_string_parser(oai_set.search_pattern).to_dict()],
                "filter": [{"terms": {"id": ids}}],
            }
        }
        found = current_search_client.search(index=index, body={"query": query, "size": len(ids), "_source": ["id"]})
        for hit in found["hits"]["hits"]:
            specs[hit["_source"]["id"]].append(oai_set.spec)
    return [specs[id_] for id_ in ids]


def _nothing(*args, **kwargs):
    return None


def install():
    """Put the stand-ins in place; call it before the application is made."""
    percolator.sets_search_all = response.sets_search_all = sets_search_all
    for module in (percolator, receivers):
        module._new_percolator = module._delete_percolator = _nothing
