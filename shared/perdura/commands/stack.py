"""Commands on the local stack itself: up, down, status, logs, token, reset."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import click

from perdura.local.state import open_home
from perdura.local.status import StackState, Status, log_tail, read_status, summary


@click.command()
@click.option("--detach", is_flag=True, help="Return when it is ready and leave it running.")
@click.option("--services-only", is_flag=True, help="Only database and object store, ready for use.")
@click.pass_obj
def up(root: Path, detach: bool, services_only: bool) -> None:
    """Start the whole platform on this machine: database, object store, functions, broker, tape library.

    Without --detach it runs until Ctrl-C. Exit status 1: it did not start, and why.
    """
    from perdura.local import stack

    home = open_home(root)
    if not detach:
        status = stack.run(home, _say, services_only=services_only)
        reason = read_status(home).reason
        if status != 0 and reason is not None:
            raise click.ClickException(reason)
        return
    _table(stack.detach(home, click.echo, services_only=services_only))


@click.command()
@click.pass_obj
def down(root: Path) -> None:
    """Stop the stack; nothing it started is left running."""
    from perdura.local import stack

    click.echo("stopped" if root.is_dir() and stack.down(open_home(root)) else "nothing runs")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, for scripts.")
@click.pass_obj
def status(root: Path, as_json: bool) -> None:
    """Show what runs, and where. Exit status 0 running, 3 not."""
    current = read_status(open_home(root)) if root.is_dir() else Status(state=StackState.STOPPED)
    if as_json:
        click.echo(json.dumps(summary(current), indent=2))
    else:
        _table(current)
    if current.state != "running":
        raise click.exceptions.Exit(3)


@click.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on as it grows.")
@click.option("-n", "--lines", default=50, show_default=True, help="Last lines to show.")
@click.pass_obj
def logs(root: Path, name: str, follow: bool, lines: int) -> None:
    """Show the log of one process (`perdura status` lists them; also `supervisor` and `prepare`)."""
    home = open_home(root)
    known = sorted(path.stem for path in home.logs.glob("*.log"))
    if name not in known:
        raise click.UsageError(f"no log of {name!r}; there are: {', '.join(known) or 'none'}")
    path = home.log(name)
    click.echo(log_tail(path, lines))
    if follow:
        for text in _follow(path):
            click.echo(text, nl=False)


@click.command()
@click.pass_obj
def token(root: Path) -> None:
    """Print the administrator's token."""
    known = open_home(root).known_secret("admin-token") if root.is_dir() else None
    if known is None:
        raise click.ClickException(f"no stack was ever started in {root}")
    click.echo(known)


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def reset(root: Path, yes: bool) -> None:
    """Remove the state directory: every package, every record, every secret of this local stack."""
    from perdura.local import stack

    if not (root / "state.json").is_file():
        raise click.ClickException(f"{root} is no state directory of Perdura")
    if not yes:
        click.confirm(f"Remove {root} with all archives in it, for ever?", abort=True)
    stack.reset(open_home(root))
    click.echo(f"removed {root}")


def _say(line: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')}  {line}")


def _table(current: Status) -> None:
    click.echo(f"state      {current.state}")
    if current.reason:
        click.echo(f"reason     {current.reason}")
    for name, url in current.urls.items():
        click.echo(f"{name:<10} {url}")
    for process in current.processes:
        again = f", {process.restarts} restarts" if process.restarts else ""
        click.echo(f"  {process.name:<14} {process.pid:>7}  {process.state}{again}")


def _follow(path: Path) -> Iterator[str]:
    """What is appended to a file from now on, for ever."""
    with path.open(encoding="utf-8", errors="replace") as file:
        file.seek(0, 2)
        while True:
            text = file.read(65536)
            if text:
                yield text
            else:
                time.sleep(0.2)
