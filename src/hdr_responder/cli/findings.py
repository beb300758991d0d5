"""What the doctor found about one connection, and how a question becomes a finding."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from hdr_responder.errors import HdrError, TemporaryError
from hdr_responder.telemetry import redact

PATIENCE_SECONDS = 30.0
"""How long one connection is waited for; the adapters' own limits are shorter."""


class Status(StrEnum):
    """How it stands."""

    OK = "ok"
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


async def ask(what: str, question: Awaitable[str], advice: str = "") -> Finding:
    """Return what became of a question; ``advice`` is for when it fails."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return Finding(what=what, status=Status.OK, detail=await question)
    except (HdrError, TimeoutError) as error:
        return failed(what, error, advice)
