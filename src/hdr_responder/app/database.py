"""Which database: the configured one, or the embedded one, which only `serve` and `demo` may start."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hdr_responder.adapters.store.embedded import EmbeddedServer, find_running
from hdr_responder.errors import UnavailableError
from hdr_responder.settings import Settings


@asynccontextmanager
async def serving_database(settings: Settings) -> AsyncIterator[str]:
    """Give the database's address, starting the embedded server where none is configured; it is stopped at the end.

    Raises ConfigError where the embedded server may not be used or is not installed.
    """
    if settings.database.url is not None:
        yield settings.database.url.get_secret_value()
        return
    settings.require_database()
    server = await EmbeddedServer.start(settings.database.data_dir)
    try:
        yield server.url
    finally:
        await server.stop()


async def joined_database(settings: Settings) -> str:
    """Return the address of the database that a service already uses; starts nothing.

    Raises UnavailableError when none is configured and no embedded one is running.
    """
    if settings.database.url is not None:
        return settings.database.url.get_secret_value()
    url = await find_running(settings.database.data_dir)
    if url is None:
        raise UnavailableError(
            f"no database: HDR_DATABASE__URL is not set, and no embedded one is running in {settings.database.data_dir}"
            " (start the service with: hdr-responder serve)"
        )
    return url
