"""Commands that may run for long: how they are named, bounded, and found again after a worker or a connection is lost.

A session holds no fence. It carries the step's key in its name instead, and the server ends it within seconds of losing
us; until then nobody may say what the command did.
"""

from __future__ import annotations

import hashlib
import math
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from hdr_responder.actions.contract import Parameters, StepContext
from hdr_responder.actions.postgres.endings import Pause
from hdr_responder.domain.durations import Duration
from hdr_responder.domain.ports.postgres import Call, Identifier, PostgresServer, Relation
from hdr_responder.errors import TemporaryError

GONE_SECONDS = 12.0
"""How long the server may take to notice that we are gone, with some to spare."""
POLL_SECONDS = 0.25

_PREFIX = "hdr-responder/"
_NAME_BYTES = 63


class LongParameters(Parameters):
    """Where a command runs, and how long it may take."""

    target: str = Field(description="A name under targets.postgres.")
    within: Annotated[Duration, Field(gt=timedelta(), le=timedelta(hours=12))] = Field(
        default=timedelta(minutes=10),
        description="After this the server gives up; keep it below the step's timeout, so that there is time to look.",
    )
    lock_timeout: Annotated[Duration, Field(gt=timedelta(), le=timedelta(minutes=10))] = Field(
        default=timedelta(seconds=5), description="How long it waits for each lock, behind which others would queue."
    )

    def call(self, ctx: StepContext) -> Call:
        """Return how this step's command runs."""
        return Call(session=session_name(ctx.step_key), within=self.within, lock_timeout=self.lock_timeout)


class TableParameters(LongParameters):
    """Which table; names are those that the server stores, without quotes and exactly as they are."""

    schema_name: Identifier = Field(
        default="public", description="One of the target's schemas in settings; others are refused."
    )
    table: Identifier

    @property
    def relation(self) -> Relation:
        """The table."""
        return Relation(schema_name=self.schema_name, name=self.table)


def session_name(step_key: str) -> str:
    """Return the name of a step's sessions; the server would cut a longer one, and then steps would share it."""
    name = f"{_PREFIX}{step_key}"
    if name.isascii() and name.isprintable() and len(name) <= _NAME_BYTES:
        return name
    return f"{_PREFIX}{hashlib.sha256(step_key.encode()).hexdigest()[:48]}"


async def still_at_work(server: PostgresServer, session: str, pause: Pause) -> str | None:
    """Wait until the session of that name is gone; what it still does when it has not gone in time.

    Raises UnavailableError when the server does not answer at the end.
    """
    for _ in range(math.ceil(GONE_SECONDS / POLL_SECONDS)):
        try:
            if await server.session(session) is None:
                return None
        except TemporaryError:
            pass
        await pause(POLL_SECONDS)
    return await server.session(session)
