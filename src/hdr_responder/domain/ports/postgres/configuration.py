"""Parameters of a target server that are written to its own file and take effect by reloading."""

from __future__ import annotations

from typing import Protocol

from hdr_responder.domain.ports.postgres.access import ALTER_SYSTEM, EXECUTE, SELECT, Need
from hdr_responder.domain.ports.postgres.facts import Fact


def file_needs() -> tuple[Need, ...]:
    """Return the rights to read what is written in the server's files."""
    return (
        Need(SELECT, "pg_catalog.pg_file_settings"),
        Need(EXECUTE, "pg_catalog.pg_show_all_file_settings()"),
    )


def alter_needs(name: str) -> tuple[Need, ...]:
    """Return the rights to write a parameter and to have it read."""
    return (Need(ALTER_SYSTEM, name), Need(EXECUTE, "pg_catalog.pg_reload_conf()"))


class ParameterState(Fact):
    """A parameter at one moment.

    ``setting`` is in force for a new session of ours, in ``unit`` (``kB``, ``8kB``, ``ms`` ..., empty without one).
    ``written`` is what ALTER SYSTEM wrote, None when it wrote nothing. ``context`` tells who may change it and how
    (``sighup``, ``user``; ``postmaster`` needs a restart). ``source`` is where ``setting`` came from. ``applied`` is
    False when the server could not take what is written. ``minimum`` and ``maximum`` are in ``unit``.
    """

    name: str
    setting: str
    unit: str
    vartype: str
    context: str
    source: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    written: str | None
    applied: bool


class ConfigurationCalls(Protocol):
    """Reads and writes parameters of the server."""

    async def parameter(self, name: str) -> ParameterState:
        """Look at a parameter; raises NotFoundError for one that this server does not know.

        Needs `file_needs`.
        """

    async def alter_system(self, name: str, value: str | None) -> None:
        """Write a parameter (None takes it out) and have the server read its files anew.

        Needs `alter_needs`. Raises AmbiguousError when it is not known whether it was written or read.
        """
