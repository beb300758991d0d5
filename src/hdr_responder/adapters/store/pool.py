"""Connections to our database: how many, how long they may take, and what the server ends by itself."""

from __future__ import annotations

from typing import TypeAlias

import asyncpg
from asyncpg.connect_utils import SessionAttribute
from asyncpg.pool import PoolConnectionProxy

from hdr_responder.adapters.store.failures import translated_connecting

APPLICATION_NAME = "hdr-responder"

CONNECT_SECONDS = 10.0
COMMAND_SECONDS = 30.0

_SERVER_SETTINGS = {
    "application_name": APPLICATION_NAME,
    "timezone": "UTC",
    # A 2xx means committed to disk, whatever the server's or the role's default is.
    "synchronous_commit": "on",
    "statement_timeout": "30s",
    # A frozen process must not keep others waiting for the pause switch, for a target or for a run to take over.
    "idle_in_transaction_session_timeout": "10s",
}

_UNBOUNDED = {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}

Pool: TypeAlias = asyncpg.Pool
Connection: TypeAlias = asyncpg.Connection | PoolConnectionProxy


async def open_pool(url: str, *, min_size: int = 1, max_size: int = 10) -> Pool:
    """Connect; the pool is the caller's to close.

    Raises ConfigError when the address or its credentials are wrong, UnavailableError when the database cannot be
    reached.
    """
    with translated_connecting():
        return await asyncpg.create_pool(
            url,
            min_size=min_size,
            max_size=max_size,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            server_settings=_SERVER_SETTINGS,
            target_session_attrs=SessionAttribute.read_write,
            reset=_keep,
        )


async def connect(url: str, *, bounded: bool = True) -> asyncpg.Connection[asyncpg.Record]:
    """Open one connection of the caller's own; raises as `open_pool` does.

    ``bounded`` False lets statements take as long as they need, for migrations.
    """
    with translated_connecting():
        return await asyncpg.connect(
            url,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS if bounded else None,
            server_settings=_SERVER_SETTINGS if bounded else _SERVER_SETTINGS | _UNBOUNDED,
            target_session_attrs=SessionAttribute.read_write,
        )


async def _keep(_: asyncpg.Connection[asyncpg.Record]) -> None:
    """Spare the round trip that resets a session: ours hold no state outside their transactions."""
