"""Judge record bodies by InvenioRDM's own schema: no database, no search, no server.

Reads one JSON object a line and writes, for each, one line: the list of what `RDMRecordSchema` has to say against it.
Values of controlled vocabularies are not looked up (they are database relations), only their form is checked.
"""

import json
import sys

import invenio_config.default as common
import invenio_rdm_records.config as rdm
import invenio_records_resources.config as resources
import invenio_vocabularies.config as vocabularies
from flask import Flask
from invenio_i18n import InvenioI18N
from invenio_rdm_records.services.schemas import RDMRecordSchema
from invenio_records_resources import InvenioRecordsResources
from marshmallow import ValidationError


def application():
    """A bare application with the modules' default configuration."""
    app = Flask("check")
    for module in (common, resources, vocabularies, rdm):
        app.config.update({name: getattr(module, name) for name in dir(module) if name.isupper()})
    InvenioI18N(app)
    InvenioRecordsResources(app)
    return app


def main():
    """Judge each line of standard input."""
    with application().test_request_context():
        for line in sys.stdin:
            try:
                RDMRecordSchema().load(json.loads(line))
                said = {}
            except ValidationError as error:
                said = error.messages
            print(json.dumps(said, default=str), flush=True)


if __name__ == "__main__":
    main()
