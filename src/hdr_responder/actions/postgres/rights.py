"""What actions on databases lock, and the rights that they need, in the words of plans and checks."""

from __future__ import annotations

from hdr_responder.actions.contract import Permission, Target
from hdr_responder.domain.ports.postgres import Need, PostgresServer
from hdr_responder.errors import ConflictError, ForbiddenError

SESSIONS = "sessions"
UPKEEP = "database-upkeep"
CONFIGURATION = "database-configuration"


def rights(target: str, *needs: Need) -> tuple[Permission, ...]:
    """Return rights on a target database."""
    return tuple(Permission(system="postgres", scope=target, verb=need.verb, resource=need.resource) for need in needs)


def sessions_target(target: str) -> Target:
    """Return the sessions of a database: two runs never end some of it at once."""
    return Target(key=f"postgres:{target}", effect_group=SESSIONS, title=f"sessions of database {target}")


def upkeep_target(target: str) -> Target:
    """Return the upkeep of a database, apart from its sessions: one may have to be ended while a vacuum goes on."""
    return Target(key=f"postgres:{target}:upkeep", effect_group=UPKEEP, title=f"upkeep of database {target}")


def configuration_target(target: str) -> Target:
    """Return the parameters of a server."""
    return Target(
        key=f"postgres:{target}:configuration", effect_group=CONFIGURATION, title=f"parameters of database {target}"
    )


async def require(server: PostgresServer, permissions: tuple[Permission, ...], *, primary: bool = True) -> None:
    """Raise ForbiddenError that names what is missing, ConflictError where the server is a standby and must not be."""
    missing = await server.missing(permissions)
    if missing:
        raise ForbiddenError(f"postgres target {server.name}: our role lacks {', '.join(missing)}")
    if primary and not (await server.ping()).primary:
        raise ConflictError(f"postgres target {server.name} is a standby: nothing can be changed there")
