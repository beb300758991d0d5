"""Certificates that servers show, read whether or not they can be trusted: an expired one is what is looked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A server's certificate; ``problem`` says why a client would not trust it, empty when it would."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    """Host names that it is for."""
    not_before: datetime
    not_after: datetime
    problem: str


class TlsServer(Protocol):
    """One server that speaks TLS."""

    @property
    def address(self) -> str:
        """``host:port``."""
        ...

    async def certificate(self) -> Certificate:
        """Connect and read the certificate.

        Raises UnavailableError when there is no connection in time, PermanentError when the server speaks no TLS.
        """
        ...
