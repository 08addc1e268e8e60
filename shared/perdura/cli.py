"""The command `perdura`. Every command is imported when it is called, so that `--help` costs nothing."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import click

COMMANDS = {
    "up": ("perdura.commands.stack", "up", "Start the whole platform on this machine."),
    "down": ("perdura.commands.stack", "down", "Stop it; nothing is left running."),
    "status": ("perdura.commands.stack", "status", "Show what runs, and where."),
    "logs": ("perdura.commands.stack", "logs", "Show the log of one process."),
    "token": ("perdura.commands.stack", "token", "Print the administrator's token."),
    "reset": ("perdura.commands.stack", "reset", "Remove everything a stopped stack keeps."),
    "doctor": ("perdura.commands.doctor", "doctor", "Check whether this machine can run it."),
    "deposit": ("perdura.commands.deposit", "deposit", "Hand in a package or a folder."),
    "deposits": ("perdura.commands.deposits", "deposits", "Deposits that were begun."),
    "announce": ("perdura.commands.announce", "announce", "Ingest packages that lie in the object store."),
    "harvest": ("perdura.commands.harvests", "harvest", "Fetch a record from a repository."),
    "harvests": ("perdura.commands.harvests", "harvests", "What was asked to be fetched, and how that goes."),
    "schedules": ("perdura.commands.schedules", "schedule", "Harvest what is new, again and again."),
    "sources": ("perdura.commands.sources", "sources", "Repositories that harvests know."),
    "credential": ("perdura.commands.credentials", "credential", "Keep credentials for sources."),
    "archives": ("perdura.commands.archives", "archives", "List archives, show one, act on one."),
    "fetch": ("perdura.commands.fetch", "fetch", "Download the AIP of an archive, or a file of it."),
    "versions": ("perdura.commands.versions", "versions", "Versions of the AIP of an archive."),
    "access": ("perdura.commands.access", "access", "Restrict, withdraw, embargo, links that expire."),
    "events": ("perdura.commands.events", "events", "PREMIS events of an archive, or of the whole log."),
    "retry": ("perdura.commands.archives", "retry", "Try the failed step of an archive again."),
    "recall": ("perdura.commands.recall", "recall", "Bring the AIP of an archive back from tape."),
    "check": ("perdura.commands.check", "check", "Read the copies of an archive again."),
    "failures": ("perdura.commands.causes", "failures", "What has stopped, by cause; retry a group."),
    "collections": ("perdura.commands.collections", "collections", "Named sets of archives."),
    "jobs": ("perdura.commands.jobs", "jobs", "One act on many archives."),
    "pipelines": ("perdura.commands.pipelines", "pipelines", "Named plans of steps."),
    "subscriptions": ("perdura.commands.subscriptions", "subscriptions", "Mail and webhooks about what happens."),
    "stats": ("perdura.commands.statistics", "stats", "What is held and done, in numbers."),
    "users": ("perdura.commands.users", "users", "Accounts and what they may do."),
    "tokens": ("perdura.commands.tokens", "tokens", "Personal access tokens."),
    "grants": ("perdura.commands.grants", "grants", "Who may see what is restricted."),
    "audit": ("perdura.commands.auditing", "audit", "What was done, and what was denied."),
    "settings": ("perdura.commands.auditing", "settings", "How the registry is set up."),
    "health": ("perdura.commands.auditing", "health", "Whether the registry can do its work."),
    "metrics": ("perdura.commands.auditing", "metrics", "What waits in the registry's queues."),
    "archivematica": ("perdura.commands.archivematica", "archivematica", "See and steer the Archivematicas."),
    "import-oais": ("perdura.commands.oais", "import_oais", "Take over the archives of a CERN OAIS platform."),
    "demo": ("perdura.commands.demo", "demo", "See one deposit and one harvest go all the way."),
    "bag": ("perdura.bag_cli", "bag", "Make and verify BagIt bags."),
    "aip": ("perdura.aip_cli", "aip", "Make, verify and compare AIPs."),
    "broker": ("perdura.local.broker.cli", "broker", "The local broker of CloudEvents."),
    "tape": ("perdura.commands.tape", "tape", "Tape: the local library, credentials, jobs."),
    "log": ("perdura.commands.log", "log", "Check the sealed PREMIS log; import events into it."),
    "backup": ("perdura.commands.keeping", "backup", "Copy database and objects into a folder."),
    "restore": ("perdura.commands.keeping", "restore", "Put a backup back."),
    "registry": ("perdura.commands.keeping", "registry", "Rebuild the registry from the objects alone."),
    "manifests": ("perdura.local.manifests_cli", "manifests", "Check the manifests for Knative."),
    "completion": ("perdura.commands.completion", "completion", "Print the completion script of a shell."),
}
"""Command -> module, attribute, one line of help."""

ALIASES = {"schedule": "schedules"}
"""Other names that commands answer to."""

DEFAULT_HOME = Path(".perdura")


class LazyGroup(click.Group):
    """A group whose commands are imported when called; `--help` shows the lines above without importing."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names in the order of a stack's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one command."""
        known = COMMANDS.get(ALIASES.get(cmd_name, cmd_name))
        if known is None:
            return None
        module, attribute, _ = known
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what we raise on purpose is one line, never a stack trace."""
        from perdura.commands.failures import failures

        with failures():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list in `--help`."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from perdura import __version__

        click.echo(f"perdura {__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_HOME,
    envvar="PERDURA_HOME",
    show_default=True,
    help="State directory of the local stack.",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.pass_context
def main(context: click.Context, home: Path) -> None:
    """Perdura: digital preservation as serverless functions."""
    context.obj = Path(os.path.abspath(home))


if __name__ == "__main__":
    main(prog_name="perdura")
