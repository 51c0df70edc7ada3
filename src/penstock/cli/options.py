"""Options that several commands have, so that they are named and explained alike.

Owns nothing but words; imported by every command, so it imports little.
"""

from __future__ import annotations

from typing import Annotated

import typer

AccountName = Annotated[
    str | None,
    typer.Option("--account", "-a", metavar="NAME", help="The account (or PENSTOCK_ACCOUNT)."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Port = Annotated[
    int | None,
    typer.Option(min=1, max=65_535, metavar="PORT", help="The port of the API (8000)."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
ApiCount = Annotated[
    int | None, typer.Option(min=0, max=64, metavar="N", help="How many processes answer HTTP.")
]
WorkerCount = Annotated[
    int | None,
    typer.Option(min=0, max=64, metavar="N", help="How many processes work off due events."),
]
