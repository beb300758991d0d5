"""Turns the driver's errors into ours, naming the target and the command, never the address, user or password.

The driver's own messages quote the address; of those only the kind is repeated. What a server answers is repeated,
shortened: it quotes at most what we sent, which holds no secret.
"""

from __future__ import annotations

import os
import socket
import ssl

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from hdr_responder.errors import (
    AdapterError,
    ConflictError,
    ForbiddenError,
    HdrError,
    PermanentError,
    TemporaryError,
    UnavailableError,
)

CAUGHT = (RedisError, OSError, TimeoutError, ValueError)
"""Everything that the driver raises from connecting and asking."""

TOO_MANY_CLIENTS = "max number of clients reached"
_MESSAGE_LIMIT = 200
_NOT_NOW = ("BUSY ", "NOREPLICAS ")


class NoAnswerError(UnavailableError):
    """The connection failed or no answer came in time: a command that was sent may have been carried out."""


_REFUSALS: tuple[tuple[type[Exception], type[HdrError], str], ...] = (
    (ReadOnlyError, ConflictError, "refused, this is a replica; changes go to the master"),
    (OutOfMemoryError, TemporaryError, "refused, the memory limit is reached"),
    (BusyLoadingError, UnavailableError, "the server is still loading its data"),
    (MasterDownError, UnavailableError, "the replica has lost its master"),
    (ClusterDownError, UnavailableError, "the cluster is down"),
    (AskError, UnavailableError, "slots of the cluster are being moved"),
    (TryAgainError, UnavailableError, "slots of the cluster are being moved"),
    (RedisTimeoutError, NoAnswerError, "no answer in time"),
    (TimeoutError, NoAnswerError, "no answer in time"),
)
"""The first that fits, before those that are decided by their text."""


def translate(where: str, command: str, error: Exception) -> HdrError:
    """Return our error for one of `CAUGHT`; ``command`` is as an ACL spells it, empty while connecting."""
    what = f"{where}: {command}".removesuffix(": ")
    for theirs, ours, said in _REFUSALS:
        if isinstance(error, theirs):
            return ours(f"{what}: {said}")
    match error:
        case NoPermissionError():
            return _forbidden(where, command, str(error))
        case AuthenticationError():
            return ForbiddenError(f"{where}: the server refuses our user or password")
        case RedisConnectionError() | OSError():
            return _connection(what, error)
        case ResponseError():
            said = f"{what}: {' '.join(str(error).split())[:_MESSAGE_LIMIT]}"
            return UnavailableError(said) if str(error).startswith(_NOT_NOW) else PermanentError(said)
        case _:
            return AdapterError(f"{what}: {type(error).__name__}")


def _forbidden(where: str, command: str, said: str) -> ForbiddenError:
    if "key" in said and "command" not in said:
        return ForbiddenError(f"{where}: our user may not run {command} on these keys: its ACL lacks their pattern")
    name = command or "a command of the log-in"
    return ForbiddenError(f"{where}: our user may not run {name}: its ACL lacks +{name}")


def _connection(what: str, error: Exception) -> UnavailableError:
    """Tell the kind of a failed connection; the cause is below the driver's error, whose text quotes the address."""
    if TOO_MANY_CLIENTS in str(error):
        return UnavailableError(f"{what}: {TOO_MANY_CLIENTS}")
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case ssl.SSLError():
                return NoAnswerError(f"{what}: TLS failed ({cause.reason or 'no reason given'})")
            case socket.gaierror():
                return NoAnswerError(f"{what}: the host name cannot be resolved")
            case OSError(errno=int(number)) if number > 0:
                return NoAnswerError(f"{what}: {os.strerror(number).lower()}")
            case _:
                cause = cause.__cause__ or cause.__context__
    return NoAnswerError(f"{what}: the connection was lost or refused")
