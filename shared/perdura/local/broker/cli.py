"""`perdura broker`: the development broker by itself."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import click

from perdura.errors import PerduraError
from perdura.local.broker.delivery import Mode


@click.group()
def broker() -> None:
    """The development broker, which reads the manifests of infra/knative."""


@broker.command()
@click.option(
    "--manifests",
    type=click.Path(exists=True, path_type=Path),
    help="Directory with a kustomization or YAML files, or one file; default: those of this installation.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; there is no sign-in.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="Port; 0 takes a free one.")
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in Mode]),
    default=Mode.MT.value,
    show_default=True,
    envvar="PERDURA_BROKER_MODE",
    show_envvar=True,
    help="Whose behaviour to reproduce.",
)
@click.option(
    "--store",
    type=click.Choice(["postgres", "memory"]),
    default="postgres",
    show_default=True,
    help="Where undelivered events are kept; memory loses them with the process.",
)
@click.option(
    "--services",
    type=click.Path(path_type=Path),
    help="JSON file of service name and URL; read again when it changes.",
)
@click.option("--ticks/--no-ticks", default=True, show_default=True, help="Send the events of PingSources.")
@click.option("--concurrency", type=click.IntRange(1, 1000), default=16, show_default=True, help="Per Trigger.")
@click.option("--database-url", envvar="PERDURA_DATABASE_URL", hidden=True)
@click.option("--token", envvar="PERDURA_EVENTS_TOKEN", hidden=True)
def serve(
    manifests: Path | None,
    host: str,
    port: int,
    mode: str,
    store: str,
    services: Path | None,
    ticks: bool,
    concurrency: int,
    database_url: str | None,
    token: str | None,
) -> None:
    """Serve /NAMESPACE/BROKER until interrupted.

    The database is PERDURA_DATABASE_URL. Functions are shown PERDURA_EVENTS_TOKEN, the first where there are several.
    """
    from perdura.local.assets import manifests_folder
    from perdura.local.broker.journal import Journal, MemoryJournal
    from perdura.local.broker.serve import serve as run
    from perdura.local.broker.topology import read_topology

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    try:
        folder = manifests or manifests_folder()
        topology = read_topology(folder)
        if not topology.brokers:
            raise click.ClickException(f"no Broker in {folder}")
        journal: Journal
        if store == "memory":
            journal = MemoryJournal()
        elif database_url is None:
            raise click.UsageError("PERDURA_DATABASE_URL is not set; or use --store memory")
        else:
            from perdura.local.broker.postgres import PostgresJournal

            journal = PostgresJournal(database_url)

        def announce(url: str) -> None:
            triggers = sum(map(len, topology.triggers.values()))
            click.echo(f"broker ({mode}, {store}) listening on {url}, {triggers} triggers, for development only")
            sys.stdout.flush()

        asyncio.run(
            run(
                topology,
                Mode(mode),
                journal,
                host=host,
                port=port,
                services=services,
                ticks=ticks,
                concurrency=concurrency,
                token=(token or "").partition(" ")[0] or None,
                ready=announce,
            )
        )
    except PerduraError as error:
        raise click.ClickException(error.message) from error
    except OSError as error:
        raise click.ClickException(f"cannot listen on port {port}: {error.strerror}") from error


@broker.command()
@click.option("--replay", is_flag=True, help="Deliver them again, from the first attempt.")
@click.option("--database-url", envvar="PERDURA_DATABASE_URL", required=True, hidden=True)
def dead(replay: bool, database_url: str) -> None:
    """List the events that could be delivered nowhere, oldest first."""
    from perdura.local.broker import postgres

    try:
        letters = postgres.dead_letters(database_url)
        for letter in letters:
            click.echo(f"{letter.trigger}\t{letter.event_type}\t{letter.event_id}\t{letter.reason or ''}")
        if replay:
            count = postgres.replay(database_url, [letter.id for letter in letters])
            click.echo(f"{count} will be delivered again")
    except PerduraError as error:
        raise click.ClickException(error.message) from error
