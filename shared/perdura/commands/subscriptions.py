"""`perdura subscriptions`: what you are told of, and how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import click

from perdura.api.models.subscriptions import Kind, Way
from perdura.client import Client
from perdura.commands import api
from perdura.commands.options import given
from perdura.commands.tables import Column, as_json_option, moment, said, show, tell

KINDS, WAYS = get_args(Kind), get_args(Way)


@click.group()
def subscriptions() -> None:
    """Mail, webhooks and CloudEvents about what fails or is done: yours, or those of an account that you administer."""


@subscriptions.command("list")
@click.option("--user", help="Of this account, by its id; without it, your own.")
@as_json_option
@api.connected
def list_subscriptions(registry: Client, user: str | None, as_json: bool) -> None:
    """List subscriptions and how telling goes."""
    columns: list[Column] = [
        ("ID", "id"), ("WAY", "way"), ("ACTIVE", "active"), ("KINDS", "kinds"), ("EVERY", "every_minutes"),
        ("SENT", lambda row: moment(row["sent"])), ("FAILURES", "failures"), ("ADDRESS", "address"),
    ]  # fmt: skip
    show(registry.get(f"{_of(user)}/subscriptions")["items"], columns, as_json=as_json)


@subscriptions.command("show")
@click.argument("subscription_id")
@as_json_option
@api.connected
def show_subscription(registry: Client, subscription_id: str, as_json: bool) -> None:
    """Show one subscription."""
    tell(registry.get(f"/subscriptions/{subscription_id}"), as_json=as_json)


@subscriptions.command("create")
@click.argument("way", type=click.Choice(WAYS))
@click.argument("address")
@click.option("--kind", "kinds", type=click.Choice(KINDS), multiple=True, required=True, help="May be repeated.")
@click.option("--collection", help="Only of archives in this collection.")
@click.option("--source", help="Only of archives from this source.")
@click.option("--every", "every_minutes", type=click.IntRange(0, 10080), default=0, help="Minutes between messages.")
@as_json_option
@api.connected
def create_subscription(registry: Client, /, kinds: Sequence[str], as_json: bool, **wanted: Any) -> None:
    """Be told by WAY at ADDRESS (a mail address, or a URL); the secret that signs messages is shown this once."""
    made = registry.post("/subscriptions", {**given(wanted), "kinds": list(kinds)})
    secret = f"\nsecret {made['secret']}" if made["secret"] else ""
    said(f"subscription {made['id']}{secret}", made, as_json=as_json)


@subscriptions.command("change")
@click.argument("subscription_id")
@click.option("--pause/--resume", "paused", default=None, help="Send nothing any more, or again.")
@click.option("--every", "every_minutes", type=click.IntRange(0, 10080), help="Minutes between messages.")
@click.option("--kind", "kinds", type=click.Choice(KINDS), multiple=True, help="Of what, all of it; may be repeated.")
@as_json_option
@api.connected
def change_subscription(
    registry: Client,
    subscription_id: str,
    paused: bool | None,
    every_minutes: int | None,
    kinds: Sequence[str],
    as_json: bool,
) -> None:
    """Pause a subscription, resume it, or change of what and how often it tells."""
    change: dict[str, Any] = {"active": not paused} if paused is not None else {}
    change |= {"every_minutes": every_minutes} if every_minutes is not None else {}
    change |= {"kinds": list(kinds)} if kinds else {}
    if not change:
        raise click.UsageError("say what is to change: --pause, --resume, --every or --kind")
    tell(registry.patch(f"/subscriptions/{subscription_id}", change), as_json=as_json)


@subscriptions.command("delete")
@click.argument("subscription_id")
@click.option("--user", help="Of this account, by its id; without it, your own.")
@api.connected
def delete_subscription(registry: Client, subscription_id: str, user: str | None) -> None:
    """End a subscription."""
    registry.delete(f"{_of(user)}/subscriptions/{subscription_id}")
    click.echo(f"subscription {subscription_id} is gone")


@subscriptions.command("test")
@click.argument("subscription_id")
@api.connected
def test_subscription(registry: Client, subscription_id: str) -> None:
    """Have a message sent to see whether it arrives."""
    registry.post(f"/subscriptions/{subscription_id}/test")
    click.echo("will be sent; `perdura subscriptions show` tells how that went")


def _of(user: str | None) -> str:
    return f"/users/{user}" if user else ""
