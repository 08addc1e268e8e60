"""`perdura manifests`: looks at Kubernetes manifests before a cluster does."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from perdura.errors import PerduraError
from perdura.local.manifests_findings import Checked, error


@click.group()
def manifests() -> None:
    """Kubernetes manifests, looked at before a cluster does."""


@manifests.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object per document.")
@click.option(
    "--crds",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of CustomResourceDefinitions; without it unknown fields may go unnoticed.",
)
@click.option("--strict", is_flag=True, help="Fail on lint findings too.")
@click.argument("files", nargs=-1, required=True, metavar="FILE…", type=click.Path(exists=True, path_type=Path))
def check(files: tuple[Path, ...], crds: Path | None, as_json: bool, strict: bool) -> None:
    """Say which documents a cluster would refuse, and what else is wrong with them.

    FILE is a YAML file or a directory with a kustomization. The exit code is 1 if any document is rejected.
    """
    from perdura.local import manifests_core
    from perdura.local.manifests_check import check as run
    from perdura.local.manifests_kustomize import BadManifest, render
    from perdura.local.manifests_schema import read_schemas

    documents, checked = [], []
    for file in files:
        try:
            documents += render(file)
        except BadManifest as unreadable:
            checked.append(Checked({"metadata": {"name": str(file)}}, (error("", unreadable.message),)))
    try:
        checked = run(documents, read_schemas(crds) if crds else None, manifests_core.known()) + checked
    except PerduraError as problem:
        raise click.ClickException(problem.message) from problem
    if not manifests_core.known():
        click.echo(
            "Fields of Kubernetes' own kinds are not looked at: install `perdura[dev]` for their schemas.", err=True
        )
    for one in checked:
        if as_json:
            click.echo(json.dumps(one.as_json(), ensure_ascii=False))
        else:
            click.echo(f"{one.kind or '?'}/{one.name}: {'rejected' if one.rejected else 'accepted'}")
            for finding in one.findings:
                click.echo(f"  {finding.level.value}: {finding.path}: {finding.message}")
    if any(one.rejected or (strict and one.findings) for one in checked):
        sys.exit(1)
