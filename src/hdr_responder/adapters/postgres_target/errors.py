"""Turns the driver's errors into ours, naming the target and never its address, user or password.

Messages of the operating system and of the driver's address parser can quote parts of the address, so of those only the
kind is repeated; a server's own message is repeated, shortened.
"""

from __future__ import annotations

import os
import ssl

import asyncpg

from hdr_responder.errors import (
    AdapterError,
    ConfigError,
    ConflictError,
    ForbiddenError,
    HdrError,
    NotFoundError,
    PermanentError,
    UnavailableError,
)

CAUGHT = (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""Everything that asyncpg raises from connecting and querying."""

_MESSAGE_LIMIT = 200


def translate(target: str, error: Exception) -> HdrError:
    """Return our error for one of `CAUGHT`; raise it ``from`` the original unless it is a ConfigError.

    A ConfigError is raised ``from None``: the address parser's message may hold the password.
    """
    where = f"postgres target {target}"
    match error:
        case asyncpg.PostgresError():
            return _server_said(where, error)
        case asyncpg.DataError() | asyncpg.UnsupportedServerFeatureError():
            return AdapterError(f"{where}: {type(error).__name__}")
        case ValueError() if not isinstance(error, OSError):
            return ConfigError(f"targets.postgres.{target}: the address is not a valid PostgreSQL address")
        case _:
            return UnavailableError(f"{where}: {_kind(error)}")


def _server_said(where: str, error: asyncpg.PostgresError) -> HdrError:
    said = f"{where}: {str(error)[:_MESSAGE_LIMIT]} ({error.sqlstate})"
    match error:
        case asyncpg.InsufficientPrivilegeError() | asyncpg.InvalidAuthorizationSpecificationError():
            return ForbiddenError(said)
        case (
            asyncpg.InvalidCatalogNameError()
            | asyncpg.InvalidParameterValueError()
            | asyncpg.CantChangeRuntimeParamError()
            | asyncpg.FeatureNotSupportedError()
            | asyncpg.ReadOnlySQLTransactionError()
        ):
            return PermanentError(said)
        case asyncpg.UndefinedTableError() | asyncpg.UndefinedColumnError() | asyncpg.InvalidSchemaNameError():
            return NotFoundError(said)
        case asyncpg.ObjectNotInPrerequisiteStateError() if not isinstance(error, asyncpg.LockNotAvailableError):
            return ConflictError(said)
        case (
            asyncpg.PostgresConnectionError()
            | asyncpg.OperatorInterventionError()
            | asyncpg.InsufficientResourcesError()
            | asyncpg.LockNotAvailableError()
        ):
            return UnavailableError(said)
        case _:
            return AdapterError(said)


def _kind(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "no answer in time"
        case ssl.SSLError():
            return f"TLS failed ({error.reason or 'no reason given'})"
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number).lower()
        case OSError():
            return "cannot be reached"
        case _:
            return "the connection was lost"
