"""What the doctor found about one connection, and how a question becomes a finding."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from hdr_responder.errors import HdrError, TemporaryError
from hdr_responder.telemetry import redact

SHOWN = 8
PATIENCE_SECONDS = 30.0
"""How long one connection is waited for; the adapters' own limits are shorter."""


class Status(StrEnum):
    """How it stands."""

    OK = "ok"
    WARNING = "warning"
    """It works, and something about it is a danger."""
    FAILED = "failed"
    NOT_CONFIGURED = "not configured"


class Finding(BaseModel):
    """One line; ``detail`` of what failed says what to do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: str
    status: Status
    detail: str
    unreachable: bool = False
    """It failed because nobody answered, not because something is set wrongly."""


def absent(what: str, detail: str) -> Finding:
    """Return that there is nothing to prove."""
    return Finding(what=what, status=Status.NOT_CONFIGURED, detail=detail)


def failed(what: str, error: Exception, advice: str = "") -> Finding:
    """Return what an error tells, without secrets, and what to do about it."""
    detail = redact(str(error)) or "no answer in time"
    told = f"{detail} ({advice})" if advice else detail
    unreachable = isinstance(error, TemporaryError | TimeoutError)
    return Finding(what=what, status=Status.FAILED, detail=told, unreachable=unreachable)


def warned(what: str, detail: str) -> Finding:
    """Return that something is a danger though all works."""
    return Finding(what=what, status=Status.WARNING, detail=redact(detail))


async def weigh(what: str, question: Awaitable[Sequence[str]], fine: str, danger: str) -> Finding:
    """Return what became of a question for dangers: ``fine`` when there are none, else ``danger`` with each of them."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            found = await question
    except (HdrError, TimeoutError) as error:
        return failed(what, error)
    return warned(what, f"{danger}: {some(found)}") if found else Finding(what=what, status=Status.OK, detail=fine)


def some(items: Sequence[str]) -> str:
    """Return the first of many in one line, and how many more there are."""
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return "; ".join(items[:SHOWN]) + more


async def ask(what: str, question: Awaitable[str], advice: str = "") -> Finding:
    """Return what became of a question; ``advice`` is for when it fails."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return Finding(what=what, status=Status.OK, detail=await question)
    except (HdrError, TimeoutError) as error:
        return failed(what, error, advice)
