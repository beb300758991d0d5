"""What a command that needs the database starts with: settings, logs that stay out of the result, and a session."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from hdr_responder.app.session import Session
    from hdr_responder.settings import Settings

T = TypeVar("T")


def prepare() -> Settings:
    """Return the settings, with every secret known to the redaction and logs sent to standard error.

    Only warnings are logged, unless the settings ask for debug. Raises ConfigError.
    """
    from hdr_responder.settings import load_settings
    from hdr_responder.telemetry import configure_logs, register_secret

    settings = load_settings()
    for secret in settings.secrets():
        register_secret(secret)
    configure_logs("console", "debug" if settings.log.level == "debug" else "warning")
    return settings


def in_session(work: Callable[[Session], Awaitable[T]]) -> T:
    """Join the database of the service, do the work and leave; raises what `open_session` and the work raise."""
    from hdr_responder.app.session import open_session

    settings = prepare()

    async def run() -> T:
        async with open_session(settings) as session:
            return await work(session)

    return asyncio.run(run())
