"""The service itself: serve, demo and migrate."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from hdr_responder.cli.context import prepare
from hdr_responder.cli.output import say


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(serve)
    app.command()(demo)
    app.command()(migrate)


def serve() -> None:
    """Run the service until SIGTERM or SIGINT.

    Without HDR_DATABASE__URL it starts the embedded database, which is for development.
    """
    import uvloop

    from hdr_responder.app.service import serve as serve_until_stopped
    from hdr_responder.settings import load_settings

    uvloop.run(serve_until_stopped(load_settings()))


def demo(
    output: Annotated[
        Path, typer.Option(file_okay=False, metavar="DIR", help="Where the post-mortem is written.")
    ] = Path("var/demo"),
) -> None:
    """Do the main job for real on this machine: a blocked database is reported, helped and checked.

    Exits 0 only if the remediation was verified.
    """
    from hdr_responder.app.demo import run_demo

    raise typer.Exit(asyncio.run(run_demo(output)))


def migrate() -> None:
    """Bring the database's schema to this version; the service does it by itself when it starts."""
    from hdr_responder.adapters.store.migrate import head
    from hdr_responder.adapters.store.migrate import migrate as apply
    from hdr_responder.app.database import joined_database

    settings = prepare()

    async def run() -> None:
        await apply(await joined_database(settings))

    asyncio.run(run())
    say(f"The schema is at revision {head()}.")
