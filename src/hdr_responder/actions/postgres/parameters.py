"""The parameters of a server that may be changed, and how their values are written.

The list is closed: among the others are ones that run programs (``archive_command``), load code, open the server to
strangers or take it down. All of it takes effect without a restart, which a test asks the servers that it has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from hdr_responder.domain.durations import parse_duration
from hdr_responder.domain.ports.postgres import ParameterState
from hdr_responder.errors import ConflictError, InvalidInputError


class Kind(StrEnum):
    """How a value is written in a playbook."""

    SWITCH = "true or false"
    NUMBER = "a number"
    DURATION = "a duration such as 30s, or -1"
    SIZE = "a size such as 64MB, or -1"


ALLOWED: Mapping[str, Kind] = {
    "autovacuum_analyze_scale_factor": Kind.NUMBER,
    "autovacuum_analyze_threshold": Kind.NUMBER,
    "autovacuum_naptime": Kind.DURATION,
    "autovacuum_vacuum_cost_delay": Kind.DURATION,
    "autovacuum_vacuum_cost_limit": Kind.NUMBER,
    "autovacuum_vacuum_scale_factor": Kind.NUMBER,
    "autovacuum_vacuum_threshold": Kind.NUMBER,
    "autovacuum_work_mem": Kind.SIZE,
    "checkpoint_completion_target": Kind.NUMBER,
    "checkpoint_timeout": Kind.DURATION,
    "deadlock_timeout": Kind.DURATION,
    "default_statistics_target": Kind.NUMBER,
    "effective_cache_size": Kind.SIZE,
    "effective_io_concurrency": Kind.NUMBER,
    "hash_mem_multiplier": Kind.NUMBER,
    "hot_standby_feedback": Kind.SWITCH,
    "idle_in_transaction_session_timeout": Kind.DURATION,
    "idle_session_timeout": Kind.DURATION,
    "jit": Kind.SWITCH,
    "log_autovacuum_min_duration": Kind.DURATION,
    "log_checkpoints": Kind.SWITCH,
    "log_lock_waits": Kind.SWITCH,
    "log_min_duration_statement": Kind.DURATION,
    "log_temp_files": Kind.SIZE,
    "maintenance_work_mem": Kind.SIZE,
    "max_parallel_maintenance_workers": Kind.NUMBER,
    "max_parallel_workers": Kind.NUMBER,
    "max_parallel_workers_per_gather": Kind.NUMBER,
    "max_standby_streaming_delay": Kind.DURATION,
    "max_wal_size": Kind.SIZE,
    "min_wal_size": Kind.SIZE,
    "random_page_cost": Kind.NUMBER,
    "temp_file_limit": Kind.SIZE,
    "track_io_timing": Kind.SWITCH,
    "work_mem": Kind.SIZE,
}

_RELOADABLE = {"sighup", "superuser", "user", "backend", "superuser-backend"}
_OVERRIDING = {"command line", "environment variable", "database", "user", "database user"}
_SIZE = re.compile(r"([0-9]{1,9})(kB|MB|GB|TB)")
_BYTES = {"B": 1, "kB": 1024, "8kB": 8 * 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "min": 60_000.0}

Value = bool | int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A value as ALTER SYSTEM writes it.

    ``amount`` is its size in bytes or its length in milliseconds where it is one, else the number itself, None for a
    switch.
    """

    text: str
    amount: float | None = None
    unit: str = ""


def wanted(name: str, value: Value) -> Wanted:
    """Return how a value is written; raises InvalidInputError for a parameter or a value of the wrong kind."""
    kind = ALLOWED.get(name)
    if kind is None:
        raise InvalidInputError(f"may not be changed; these may: {', '.join(ALLOWED)}", field="parameter")
    found = _read(kind, value)
    if found is None:
        raise InvalidInputError(f"{name} is {kind}", field="value")
    return found


def _read(kind: Kind, value: Value) -> Wanted | None:
    if kind is Kind.SWITCH or isinstance(value, bool):
        return Wanted(text="on" if value else "off") if kind is Kind.SWITCH and isinstance(value, bool) else None
    if not isinstance(value, str):
        plain = kind is Kind.NUMBER or value == -1
        return Wanted(text=f"{value:.10g}", amount=float(value)) if plain else None
    if kind is Kind.DURATION:
        milliseconds = parse_duration(value) / timedelta(milliseconds=1)
        return Wanted(text=f"{milliseconds:.0f}ms", amount=milliseconds, unit="ms")
    size = _SIZE.fullmatch(value) if kind is Kind.SIZE else None
    return Wanted(text=value, amount=float(int(size[1]) * _BYTES[size[2]]), unit="B") if size else None


def refuse_unfit(found: ParameterState, value: Wanted) -> None:
    """Raise ConflictError when the server could not take the value by reloading, or would not use it."""
    if found.context not in _RELOADABLE:
        raise ConflictError(f"{found.name} takes effect by a restart of the server only")
    if found.source in _OVERRIDING:
        raise ConflictError(f"{found.name} is set by the {found.source}, which overrides what would be written")
    amount = in_unit(found, value)
    if amount is None:
        return
    if found.vartype == "integer" and amount != int(amount):
        raise ConflictError(f"{found.name} is a whole number of {found.unit or 'its kind'}: {value.text} is none")
    low, high = found.minimum, found.maximum
    if (low is not None and amount < low) or (high is not None and amount > high):
        raise ConflictError(f"{found.name} is from {low:g} to {high:g} {found.unit}: {value.text} is not")


def in_force(found: ParameterState, value: Wanted) -> bool:
    """Tell whether the server uses the value."""
    amount = in_unit(found, value)
    return found.setting == value.text if amount is None else float(found.setting) == amount


def in_unit(found: ParameterState, value: Wanted) -> float | None:
    """Return the amount in the server's own unit, None for a switch."""
    if value.amount is None or not value.unit:
        return value.amount
    units = _BYTES if value.unit == "B" else _MILLISECONDS
    if found.unit not in units:
        raise ConflictError(f"{found.name} is measured in {found.unit or 'plain numbers'}, not as {value.text}")
    return value.amount / units[found.unit]
