"""The command `doctor`: what keeps this machine from running a stack."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, for scripts.")
@click.pass_obj
def doctor(root: Path, as_json: bool) -> None:
    """Check whether this machine can run it. Exit status 1 where something keeps it from running."""
    from perdura.local.diagnosis import Level, diagnose

    found = diagnose(root)
    if as_json:
        click.echo(json.dumps([asdict(diagnosis) for diagnosis in found], indent=2))
    else:
        for diagnosis in found:
            click.echo(f"{diagnosis.level:<8} {diagnosis.subject:<22} {diagnosis.found}")
            if diagnosis.level is not Level.FINE:
                click.echo(f"{'':<31} {diagnosis.remedy}")
    if any(diagnosis.level is Level.FAILURE for diagnosis in found):
        raise click.exceptions.Exit(1)
