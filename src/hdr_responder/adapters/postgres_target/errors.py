"""Turns the driver's errors into ours, naming the target and never its address, user or password.

Messages of the operating system and of the driver's address parser can quote parts of the address, so of those only the
kind is repeated; a server's own message is repeated, shortened.
"""

from __future__ import annotations

import os
import ssl

import asyncpg

from hdr_responder.errors import AdapterError, ConfigError, ForbiddenError, HdrError, PermanentError, UnavailableError

CAUGHT = (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""Everything that asyncpg raises from connecting and querying."""

_MESSAGE_LIMIT = 200


def translate(target: str, error: Exception) -> HdrError:
    """Return our error for one of `CAUGHT`; raise it ``from`` the original unless it is a ConfigError.

    A ConfigError is raised ``from None``: the address parser's message may hold the password.
    """
    where = f"postgres target {target}"
    if isinstance(error, asyncpg.PostgresError):
        return _server_said(where, error)
    if isinstance(error, TimeoutError):
        return UnavailableError(f"{where}: no answer in time")
    if isinstance(error, ssl.SSLError):
        return UnavailableError(f"{where}: TLS failed ({error.reason or 'no reason given'})")
    if isinstance(error, OSError):
        return UnavailableError(f"{where}: {_kind(error)}")
    if isinstance(error, asyncpg.DataError | asyncpg.UnsupportedServerFeatureError):
        return AdapterError(f"{where}: {type(error).__name__}")
    if isinstance(error, ValueError):
        return ConfigError(f"targets.postgres.{target}: the address is not a valid PostgreSQL address")
    return UnavailableError(f"{where}: the connection was lost")


def _server_said(where: str, error: asyncpg.PostgresError) -> HdrError:
    said = f"{where}: {str(error)[:_MESSAGE_LIMIT]} ({error.sqlstate})"
    match error:
        case asyncpg.InsufficientPrivilegeError() | asyncpg.InvalidAuthorizationSpecificationError():
            return ForbiddenError(said)
        case asyncpg.InvalidCatalogNameError():
            return PermanentError(said)
        case (
            asyncpg.PostgresConnectionError()
            | asyncpg.OperatorInterventionError()
            | asyncpg.InsufficientResourcesError()
            | asyncpg.LockNotAvailableError()
        ):
            return UnavailableError(said)
        case _:
            return AdapterError(said)


def _kind(error: OSError) -> str:
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return "cannot be reached"
