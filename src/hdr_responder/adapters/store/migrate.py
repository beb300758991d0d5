"""Brings the database's schema to this version, under a lock, in one transaction."""

from __future__ import annotations

from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, pool
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from hdr_responder.adapters.store.pool import connect
from hdr_responder.errors import AdapterError, UnavailableError

_FOLDER = Path(__file__).parent / "migrations"


def head() -> str:
    """Return the revision that this version of the code expects."""
    revision = ScriptDirectory(str(_FOLDER)).get_current_head()
    if revision is None:
        raise AdapterError("the package holds no migrations")
    return revision


async def migrate(url: str) -> None:
    """Apply what is missing.

    Raises ConfigError when the address or its credentials are wrong, UnavailableError when the database cannot be
    reached or is lost meanwhile: then nothing was applied.
    """

    async def open_connection() -> asyncpg.Connection[asyncpg.Record]:
        return await connect(url, bounded=False)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=open_connection, poolclass=pool.NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade)
    except DBAPIError as error:
        raise UnavailableError(f"the database was lost while migrating: {type(error.orig).__name__}") from error
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
