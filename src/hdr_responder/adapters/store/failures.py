"""Turns the driver's errors into ours where they enter, without the database's address or credentials.

Messages of the operating system and of the driver's address parser can quote parts of the address, so of those only the
kind is repeated; a server's own primary message holds names of constraints, never values, and is repeated shortened.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import asyncpg

from hdr_responder.errors import AdapterError, ConfigError, HdrError, NotFoundError, TemporaryError, UnavailableError

CAUGHT = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""Everything that asyncpg raises from connecting and querying."""

_MESSAGE_LIMIT = 200
_RACES = frozenset({"alerts_one_firing", "incidents_one_open"})
"""Constraints that only two transactions at once can break: tried again, the second finds the first one's row."""


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise our error ``from`` the driver's."""
    try:
        yield
    except CAUGHT as error:
        raise translate(error) from error


@contextlib.contextmanager
def translated_connecting() -> Iterator[None]:
    """As `translated`, for what takes an address: a wrong one is a ConfigError without the parser's message."""
    try:
        yield
    except ValueError:
        raise ConfigError("database.url is not a valid PostgreSQL address") from None
    except CAUGHT as error:
        raise translate(error) from error


def is_outage(error: BaseException) -> bool:
    """Tell whether the connection or the server is gone, rather than the statement wrong."""
    return isinstance(error, CAUGHT) and isinstance(translate(error), UnavailableError)


def translate(error: Exception) -> HdrError:
    """Return our error for one of `CAUGHT`."""
    match error:
        case asyncpg.PostgresError():
            return _server_said(error)
        case asyncpg.TargetServerAttributeNotMatched():
            return UnavailableError("the database: no server that takes writes")
        case asyncpg.InterfaceError() if "clos" not in str(error):
            return AdapterError(f"the database: {str(error)[:_MESSAGE_LIMIT]}")
        case _:
            return UnavailableError(f"the database: {_kind(error)}")


def _server_said(error: asyncpg.PostgresError) -> HdrError:
    # Not str(): it would add the server's detail line, which quotes values.
    said = f"the database: {str(error.args[0])[:_MESSAGE_LIMIT]} ({error.sqlstate})"
    if _passes(error):
        return TemporaryError(said)
    match error:
        case asyncpg.InvalidAuthorizationSpecificationError() | asyncpg.InvalidCatalogNameError():
            return ConfigError(f"database.url: the server refuses it ({error.sqlstate})")
        case asyncpg.UndefinedTableError() | asyncpg.UndefinedColumnError():
            return ConfigError(f"{said}: the schema is older than this version; run hdr-responder migrate")
        case asyncpg.ForeignKeyViolationError():
            return NotFoundError(said)
        case (
            asyncpg.PostgresConnectionError()
            | asyncpg.OperatorInterventionError()
            | asyncpg.InsufficientResourcesError()
            | asyncpg.ReadOnlySQLTransactionError()
            | asyncpg.IdleInTransactionSessionTimeoutError()
            | asyncpg.PostgresSystemError()
        ):
            return UnavailableError(said)
        case _:
            return AdapterError(said)


def _passes(error: asyncpg.PostgresError) -> bool:
    """Tell whether the same transaction may succeed when it is tried again."""
    match error:
        case asyncpg.TransactionRollbackError() | asyncpg.LockNotAvailableError():
            return True
        case asyncpg.UniqueViolationError(constraint_name=name):
            return name in _RACES
        case asyncpg.FeatureNotSupportedError():
            # The schema changed under a prepared statement, as in a rolling upgrade.
            return "cached plan" in str(error.args[0])
        case _:
            return False


def _kind(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "no answer in time"
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number).lower()
        case OSError():
            return "cannot be reached"
        case _:
            return "the connection was lost"
