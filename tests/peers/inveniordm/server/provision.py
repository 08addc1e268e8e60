"""Bring the instance into being, in one process (each `invenio` command would cost 4 to 10 s).

Empty database: tables, indices, custom fields, file location, roles, vocabularies, users, tokens.
Database with tables: make the indices again and fill them.
"""

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import osmem_compat
from click.testing import CliRunner
from flask.cli import ScriptInfo
from flask_principal import ActionNeed
from flask_security.utils import hash_password
from invenio_access.models import ActionRoles
from invenio_access.permissions import system_identity
from invenio_accounts.models import Role
from invenio_accounts.proxies import current_datastore
from invenio_app.cli import cli
from invenio_app.factory import create_app
from invenio_db import db
from invenio_indexer.proxies import current_indexer_registry
from invenio_oauth2server.models import Token
from invenio_rdm_records.fixtures import FixturesEngine
from invenio_records_resources.proxies import current_service_registry
from sqlalchemy import inspect

PASSWORD = "123456789"  # of every user; for the HTML login form
ACTIONS = (("superuser-access", "admin"), ("administration-access", "admin"), ("archiver", "archiver"))
# user: roles, scopes of the token
USERS = {
    "publisher": ((), ()),
    "other": ((), ()),
    "archiver": (("archiver",), ("webhooks:event",)),
    "admin": (("admin",), ()),
}
# what `rdm-records rebuild-index` leaves out
ALSO_INDEXED = ("users", "groups", "domains", "communities", "members", "requests", "request_events")

BEGIN = time.monotonic()


def lap(what):
    """Note how long it took so far."""
    print(f"{time.monotonic() - BEGIN:6.1f} s  {what}", flush=True)


def run(app, *args):
    """Run an `invenio` command in this process."""
    result = CliRunner().invoke(cli, list(args), obj=ScriptInfo(create_app=lambda *a: app), catch_exceptions=False)
    if result.exit_code:
        raise SystemExit(f"invenio {' '.join(args)}: {result.output[-2000:]}")
    lap(" ".join(args[:3]))


def people():
    """Make the users with their roles and personal tokens, and write the tokens down."""
    roles = {role.name: role for role in Role.query.all()}
    for action, role in ACTIONS:
        db.session.add(ActionRoles.create(action=ActionNeed(action), role=roles[role]))
    out = {}
    for name, (of_user, scopes) in USERS.items():
        now = datetime.now(UTC)
        user = current_datastore.create_user(
            email=f"{name}@example.org",
            password=hash_password(PASSWORD),
            active=True,
            confirmed_at=now,
            verified_at=now,
        )
        db.session.commit()
        user.roles.extend(roles[role] for role in of_user)
        token = Token.create_personal("api", user.id, scopes=list(scopes), is_internal=True)
        db.session.commit()
        out[name] = {"id": user.id, "email": user.email, "token": token.access_token}
    tokens = Path(os.environ["RDM_TOKENS"])
    tokens.touch(mode=0o600)
    tokens.write_text(json.dumps(out, indent=1) + "\n")
    lap("users, roles, tokens")


def main():
    """Provision or re-index."""
    osmem_compat.install()
    app = create_app()
    lap("application")
    with app.app_context():
        empty = not inspect(db.engine).get_table_names()
        if empty:
            db.metadata.create_all(db.engine)
            lap("tables")
        run(app, "index", "init")
        run(app, "rdm-records", "custom-fields", "init")
        if empty:
            data = Path(os.environ["INVENIO_INSTANCE_PATH"]) / "data"
            run(app, "files", "location", "create", "--default", "default", str(data))
            run(app, "queues", "declare")
            for name in ("admin", "archiver"):  # before the fixtures, which refer to them
                db.session.add(Role(id=name, name=name))
            db.session.commit()
            FixturesEngine(system_identity).run()
            lap("vocabularies")
            people()
        else:
            run(app, "rdm-records", "rebuild-index")  # records, drafts, vocabularies, OAI sets
            for name in ALSO_INDEXED:
                current_service_registry.get(name).rebuild_index(identity=system_identity)
            # all that only queues bulk operations, for a scheduled task to consume: consume them here
            for name, indexer in current_indexer_registry.all().items():
                try:
                    print("   indexed", name, indexer.process_bulk_queue(), flush=True)
                except Exception as error:  # an indexer without a queue
                    print("   not indexed", name, type(error).__name__, str(error)[:200], flush=True)
    lap("done")


if __name__ == "__main__":
    main()
