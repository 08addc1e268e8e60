"""The options that say which archives are meant: those of `GET /archives`."""

from __future__ import annotations

import click

from perdura.commands.options import together

filters = together((
    click.option("--state", multiple=True, help="Only those in this state; may be repeated."),
    click.option("--source", multiple=True, help="Only those from this source; may be repeated."),
    click.option("--origin", multiple=True, help="deposit, upload, harvest or announcement; may be repeated."),
    click.option("--step", multiple=True, help="Only those with a step as `name:state`; may be repeated."),
    click.option("--cause", multiple=True, help="Only those that this error code has stopped; may be repeated."),
    click.option("--format", multiple=True, help="Only those with files of this PRONOM identifier; may be repeated."),
    click.option("--collection", help="Only members of this collection."),
    click.option("--since", "created_from", metavar="DAY", help="Only those of this day (2026-01-31) or later."),
    click.option("--until", "created_to", metavar="DAY", help="Only those of this day or before."),
    click.option("--size-min", type=click.IntRange(0), metavar="BYTES", help="Only those of so many bytes or more."),
    click.option("--size-max", type=click.IntRange(0), metavar="BYTES", help="Only those of so many bytes or fewer."),
    click.option("-q", "--query", "q", help="Only those with these words in title or metadata."),
))  # fmt: skip
"""Gives a command the options; it gets them as `**which`, to be passed through `given`."""
