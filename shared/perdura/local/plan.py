"""What a local stack consists of: ports, environment and programs, decided before anything is started.

Existing services win: where the environment names a database, an object store or a tape system, none is started.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from perdura.local import assets, ports, postgres, seaweedfs
from perdura.local.process import Program
from perdura.local.state import Home, remember, remembered_ports, socket_folder, write_private
from perdura.settings import Settings

SERVER_MODULE = "perdura.runtime.server"
BROKER_PATH = "/perdura/default"
"""Where a Knative broker takes CloudEvents in: /<namespace>/<name>, as infra/knative/base names them."""
PAGES = {"base_url": "registry", "access_url": "publish", "premis_url": "premis-log"}
"""Settings that hold the public URL of a function."""
GATEWAY = "aip-gateway"
"""The function from which the local FTS reads AIPs."""
TAPE_NAMES = ("PERDURA_TAPE_FTS_URL", "FTS_INSTANCE")
"""Variables that name an existing tape system."""
_ALIASES = ("FTS_INSTANCE", "FTS_STATUS_INSTANCE", "FTS_GRID_CERT", "FTS_GRID_CERT_KEY", "CTA_BASE_PATH")
_PASSED_ON = ("SSL_CERT_FILE", "SSL_CERT_DIR", "LANG", "LC_ALL", "TZ", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Plan:
    """A stack, decided.

    `services` and `functions` are started together with `preparation`, which ends by itself when the services are
    usable; `broker` when the database is migrated. `database` is the server among the services whose cluster must
    be initialised first. `urls` name each part for people and scripts.
    """

    services: tuple[Program, ...]
    preparation: Program
    functions: tuple[Program, ...]
    broker: Program | None
    urls: Mapping[str, str]
    database: postgres.Server | None

    @property
    def programs(self) -> tuple[Program, ...]:
        """Everything that keeps running."""
        return (*self.services, *self.functions, *([self.broker] if self.broker is not None else []))

    def services_alone(self) -> Plan:
        """The same without functions and broker."""
        return replace(self, functions=(), broker=None, urls={"s3": self.urls["s3"]})


def make_plan(home: Home, mains: Mapping[str, Path], environ: Mapping[str, str] = os.environ) -> Plan:
    """Choose ports, generate secrets, write configuration files, and say what to start.

    `mains` are the functions, by name. Starts nothing. Raises Broken where something needed is missing.
    """
    own_database = "PERDURA_DATABASE_URL" not in environ
    own_store = "PERDURA_S3_ENDPOINT" not in environ
    own_tape = not any(name in environ for name in TAPE_NAMES)
    names = [*mains, "broker", "upstream"]
    names += [postgres.NAME] if own_database else []
    names += ["fts", "tape"] if own_tape else []
    sockets = socket_folder(home)
    port = ports.choose(names, seaweedfs.NAME if own_store else None, remembered_ports(home))
    remember(home, {**remembered_ports(home), **port}, sockets)
    url = {name: f"http://127.0.0.1:{number}" for name, number in port.items()}

    environment = _environment(home, environ, url, own_tape)
    services: list[Program] = []
    task: dict[str, str | int] = {}
    if own_store:
        store = seaweedfs.Server(home, port[seaweedfs.NAME], sockets, seaweedfs.find_binary(environ))
        bucket = environment.get("PERDURA_BUCKET_INCOMING", str(Settings.model_fields["bucket_incoming"].default))
        token = environment["PERDURA_S3_NOTIFICATION_TOKEN"]
        ingest = url.get("ingest")
        seaweedfs.configure(store, seaweedfs.Webhook(f"{ingest}/s3", token, bucket) if ingest else None)
        environment["PERDURA_S3_ENDPOINT"] = store.endpoint
        environment["PERDURA_S3_ACCESS_KEY"] = seaweedfs.ACCESS_KEY
        environment["PERDURA_S3_SECRET_KEY"] = home.secret("s3")
        services.append(seaweedfs.program(store))
        task |= {"weed": store.binary, "weed_port": store.port, "weed_folder": str(home.data(seaweedfs.NAME))}
    database = postgres.locate(home, port[postgres.NAME], sockets) if own_database else None
    as_application: dict[str, str] = {}
    if database is not None:
        as_application["PERDURA_DATABASE_URL"] = database.functions_url
        environment["PERDURA_DATABASE_URL"] = database.url
        services.append(postgres.program(database))
        task |= {"postgres_port": database.port, "role_password": home.secret("database")}
        task |= {"functions_password": home.secret("database-functions")}
        task |= {"superuser_password": home.secret("database-superuser")}

    def python(name: str, *arguments: str, env: Mapping[str, str] | None = None, health: str | None = None) -> Program:
        own = {**environment, **(env or {})}
        return Program(name, (sys.executable, *arguments), home.root, home.log(name), own, health=health)

    functions = [
        python(
            name,
            *("-m", "gunicorn", "-c", f"python:{SERVER_MODULE}"),
            f"functions_framework:create_app('handle','{main}','http')",
            env={"FUNCTION": name, "HOST": "127.0.0.1", "PORT": str(port[name]), "GRACEFUL_TIMEOUT": "8"}
            | as_application,
            health=f"{url[name]}/healthz",
        )
        for name, main in mains.items()
    ]
    upstream = ("-m", "perdura.local.upstream", "--port", str(port["upstream"]))
    functions.append(python("upstream", *upstream, health=f"{url['upstream']}/health"))
    if own_tape:
        addresses = ("--fts-port", str(port["fts"]), "--endpoint-port", str(port["tape"]))
        folder = str(home.data("tape"))
        serve = ("-m", "perdura.local.tape", "serve", *addresses, "--state", folder)
        functions.append(python("tape", *serve, health=f"{url['fts']}/"))

    directory = home.data("broker") / "services.json"
    write_private(directory, json.dumps({name: url[name] for name in mains}, indent=2))
    broker = python(
        "broker",
        *("-m", "perdura.cli", "broker", "serve", "--manifests", str(assets.manifests_folder() / "base")),
        *("--services", str(directory), "--port", str(port["broker"])),
        health=f"{url['broker']}/healthz",
    )
    preparation = python("prepare", "-m", "perdura.local.prepare", env={"PREPARE": json.dumps(task)})
    return Plan(tuple(services), preparation, tuple(functions), broker, _urls(url, environment), database)


def _environment(home: Home, environ: Mapping[str, str], url: Mapping[str, str], own_tape: bool) -> dict[str, str]:
    """What every Python process gets: a minimal environment, the caller's settings, then what we started."""
    environment = {"PATH": f"{Path(sys.executable).parent}:{postgres.PATH}", "HOME": str(home.root)}
    # GOGC as in the container image: the format identifier keeps less memory beside its signatures.
    environment |= {"PYTHONUNBUFFERED": "1", "LC_ALL": "C.UTF-8", "GOGC": "60"}
    environment |= {name: environ[name] for name in _PASSED_ON if name in environ}
    environment |= {
        "PERDURA_ADMIN_TOKEN": home.secret("admin-token"),
        "PERDURA_LOG_SIGNING_KEYS": home.seed("log-signing-key"),
        "PERDURA_CREDENTIAL_KEYS": home.seed("credential-key"),
        "PERDURA_S3_NOTIFICATION_TOKEN": home.secret("notification-token"),
        "PERDURA_ALLOW_LOOPBACK_UPSTREAMS": "true",
        # A stack on loopback has one user, who is in nobody's way.
        "PERDURA_RATE_LIMIT": "0",
        "PERDURA_RATE_LIMIT_STRANGERS": "0",
        "K_SINK": f"{url['broker']}{BROKER_PATH}",
        **{f"PERDURA_{setting.upper()}": url[name] for setting, name in PAGES.items() if name in url},
    }
    if own_tape:
        environment["PERDURA_TAPE_FTS_URL"] = url["fts"]
        environment["PERDURA_TAPE_ENDPOINT_URL"] = url["tape"]
        environment["PERDURA_TAPE_TOKEN"] = home.secret("tape-token")
    if own_tape and GATEWAY in url:
        environment["PERDURA_TAPE_GATEWAY_URL"] = url[GATEWAY]
        environment["PERDURA_TAPE_GATEWAY_SECRET"] = home.secret("tape-gateway")
    own = {name: value for name, value in environ.items() if name.startswith("PERDURA_") or name in _ALIASES}
    return environment | own


def _urls(url: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """The parts a person or a script may want to reach."""
    urls = {name: address for name, address in url.items() if name not in (postgres.NAME, seaweedfs.NAME)}
    urls["registry"] = environment.get("PERDURA_BASE_URL", "")
    urls["access"] = environment.get("PERDURA_ACCESS_URL", "")
    urls["premis-log"] = environment.get("PERDURA_PREMIS_URL", "")
    urls["s3"] = environment["PERDURA_S3_ENDPOINT"]
    return {name: address for name, address in sorted(urls.items()) if address}
