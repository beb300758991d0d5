"""Looking for keys by pattern and deleting them, a bounded number at a time.

A deletion is of the very keys that were found and captured: more than the limit are refused as a whole, and what
appears under the pattern later is left alone. Done twice it deletes no other names, so a worker that takes over can
look which are left. But a name that was written again in between goes again: whoever lets a pattern be deleted says
by that, that its values can be had anew.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from hdr_responder.actions.contract import (
    Mutation,
    Observed,
    Parameters,
    Permission,
    Read,
    Result,
    Seen,
    State,
    StepContext,
    Target,
    Undo,
)
from hdr_responder.actions.redis.key_names import checked_deletion, checked_pattern, restored, shown, stored
from hdr_responder.actions.redis.rights import commands, on_keys
from hdr_responder.domain.durations import Duration
from hdr_responder.domain.ports.redis import RedisServer
from hdr_responder.errors import ConflictError

MAX_KEYS = 10_000
MAX_CAPTURED_BYTES = 1024 * 1024
SHOWN = 20
_SCAN_WITHIN = timedelta(minutes=1)

Limit = Annotated[int, Field(ge=1, le=MAX_KEYS)]


class KeysByPatternParameters(Parameters):
    """``target``: a name under ``targets.redis``; ``pattern`` is glob-style as of Redis."""

    target: str
    pattern: Annotated[str, AfterValidator(checked_pattern)]
    max_keys: Limit = Field(default=1000, description="Keys after which the search ends.")
    within: Annotated[Duration, Field(ge=timedelta(seconds=1), le=_SCAN_WITHIN)] = Field(
        default=timedelta(seconds=10), description="Time after which the search ends."
    )


class KeysByPatternResult(Result):
    """What was found."""

    count: int = Field(description="Distinct keys; a lower bound unless complete.")
    complete: bool = Field(description="Whether every key of every master was looked at.")
    keys: tuple[str, ...] = Field(description=f"The first {SHOWN}.")
    artifact: str = Field(description="All names that were found; empty when there are none.")
    summary: str


class KeysByPattern(Read[KeysByPatternParameters, KeysByPatternResult]):
    """The names of keys, never their values."""

    name = "redis.keys_by_pattern"
    summary = "Look for keys by a pattern without blocking the server, up to a number and a time."
    example = """
id: stale
action: redis.keys_by_pattern
with: {target: cache, pattern: "stale:*", max_keys: 1000}
"""
    parameters = KeysByPatternParameters
    result = KeysByPatternResult
    default_timeout_seconds = 90.0

    def permissions(self, params: KeysByPatternParameters) -> tuple[Permission, ...]:
        """Return the right to scan, which Redis does not limit to some keys."""
        return commands(params.target, "scan")

    async def execute(self, ctx: StepContext, params: KeysByPatternParameters) -> KeysByPatternResult:
        """Raise UnavailableError when a node does not answer in time."""
        server = ctx.systems.cache(params.target)
        found = await server.scan(params.pattern, limit=params.max_keys, within=params.within)
        keys = sorted(shown(key) for key in found.keys)
        listing = "".join(f"{key}\n" for key in keys).encode()
        artifact = await ctx.evidence.keep("keys.txt", "text/plain", listing) if keys else ""
        return KeysByPatternResult(
            count=len(keys),
            complete=not found.cut,
            keys=tuple(keys[:SHOWN]),
            artifact=artifact,
            summary=f"{len(keys)} keys match {params.pattern}" + (f" at least: {found.cut}" if found.cut else ""),
        )


class DeleteByPatternParameters(Parameters):
    """``target``: a name under ``targets.redis``."""

    target: str
    pattern: Annotated[str, AfterValidator(checked_deletion)] = Field(
        description="At least 3 literal characters, then * and ?; [ ] and \\ are refused."
    )
    max_keys: Limit = Field(default=1000, description="More keys than these are refused as a whole, never trimmed.")


class DeleteByPatternResult(Result):
    """What was deleted."""

    matched: int = Field(description="Keys that were found before.")
    deleted: int = Field(description="Of these, the ones that were still there.")
    summary: str


class DeleteByPattern(Mutation[DeleteByPatternParameters, DeleteByPatternResult]):
    """Deletes the keys that match a pattern now."""

    name = "redis.delete_by_pattern"
    summary = "Delete the keys that match a pattern, unless they are more than a limit."
    example = """
id: clean
action: redis.delete_by_pattern
with: {target: cache, pattern: "stale:*", max_keys: 5000}
undo: none
"""
    parameters = DeleteByPatternParameters
    result = DeleteByPatternResult
    undoable: ClassVar[Undo] = Undo.NONE
    effect_group = "keys"
    holds_fence: ClassVar[bool] = False
    destructive: ClassVar[bool] = True
    awaits_dependencies: ClassVar[bool] = False
    default_timeout_seconds = 180.0

    def permissions(self, params: DeleteByPatternParameters) -> tuple[Permission, ...]:
        """Return the rights to scan, and to delete and look at keys of the pattern."""
        return (*commands(params.target, "scan"), *on_keys(params.target, params.pattern, "unlink", "exists"))

    def target(self, params: DeleteByPatternParameters) -> Target:
        """Return the server: two runs never delete from it at once."""
        title = f"keys of redis {params.target}"
        return Target(key=f"redis:{params.target}", effect_group=self.effect_group, title=title)

    async def dry_run(self, ctx: StepContext, params: DeleteByPatternParameters) -> None:
        """Count the keys, and delete one that cannot exist.

        Raises ConflictError when more match than ``max_keys`` or the server is a replica, ForbiddenError without the
        rights.
        """
        server = ctx.systems.cache(params.target)
        await server.rehearse_delete(params.pattern)
        await _found(server, params)

    async def capture(self, ctx: StepContext, params: DeleteByPatternParameters) -> State:
        """Return the keys; no other will be touched."""
        keys = await _found(ctx.systems.cache(params.target), params)
        return {"keys": [stored(key) for key in keys]}

    async def execute(self, ctx: StepContext, params: DeleteByPatternParameters, state: State) -> DeleteByPatternResult:
        """Delete what was captured.

        Raises TemporaryError and PermanentError only when nothing was deleted, AmbiguousError when something may be.
        """
        keys = _captured(state)
        deleted = await ctx.systems.cache(params.target).delete(keys) if keys else 0
        return _deleted(params, len(keys), deleted)

    async def observe(
        self, ctx: StepContext, params: DeleteByPatternParameters, state: State
    ) -> Observed[DeleteByPatternResult]:
        """Look how many of the captured keys are left; some gone and some not is for a person to judge."""
        keys = _captured(state)
        if not keys:
            return Observed(seen=Seen.TOOK_EFFECT, result=_deleted(params, 0, 0), detail="no key had matched")
        left = await ctx.systems.cache(params.target).existing(keys)
        if not left:
            result = _deleted(params, len(keys), len(keys))
            return Observed(seen=Seen.TOOK_EFFECT, result=result, detail=f"all {len(keys)} keys are gone")
        if left == len(keys):
            return Observed(seen=Seen.NO_EFFECT, detail=f"all {left} keys are still there")
        detail = f"{left} of {len(keys)} keys are there, not deleted or written again; deleting again is harmless"
        return Observed(seen=Seen.UNKNOWN, detail=detail)


async def _found(server: RedisServer, params: DeleteByPatternParameters) -> tuple[bytes, ...]:
    """Return all keys that match; raises ConflictError when they are too many to be deleted."""
    found = await server.scan(params.pattern, limit=params.max_keys, within=_SCAN_WITHIN)
    where = f"redis target {server.name}"
    if found.cut:
        raise ConflictError(f"{where}: {found.cut}, so none is deleted (pattern {params.pattern})")
    size = sum(len(stored(key)) for key in found.keys)
    if size > MAX_CAPTURED_BYTES:
        raise ConflictError(
            f"{where}: the names of the {len(found.keys)} keys are longer than {MAX_CAPTURED_BYTES} bytes"
        )
    return found.keys


def _captured(state: State) -> tuple[bytes, ...]:
    keys = state["keys"]
    if not isinstance(keys, list):
        raise TypeError("the captured keys are no list")
    return tuple(restored(str(key)) for key in keys)


def _deleted(params: DeleteByPatternParameters, matched: int, deleted: int) -> DeleteByPatternResult:
    gone = f"; {matched - deleted} had gone before" if deleted < matched else ""
    summary = f"{deleted} of {matched} keys of {params.pattern} deleted{gone}"
    return DeleteByPatternResult(matched=matched, deleted=deleted, summary=summary)
