"""Brings the database's schema to this version, under a lock, in one transaction."""

from __future__ import annotations

from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import create_async_engine

from hdr_responder.errors import UnavailableError

_FOLDER = Path(__file__).parent / "migrations"


def head() -> str:
    """Return the revision that this version of the code expects."""
    revision = ScriptDirectory(str(_FOLDER)).get_current_head()
    assert revision is not None
    return revision


async def migrate(url: str) -> None:
    """Apply what is missing.

    Raises UnavailableError when the database cannot be reached.
    """

    async def connect() -> asyncpg.Connection[asyncpg.Record]:
        return await asyncpg.connect(url, timeout=10)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=pool.NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade)
    except (OSError, TimeoutError, asyncpg.CannotConnectNowError) as error:
        raise UnavailableError(f"the database cannot be reached: {type(error).__name__}") from error
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
