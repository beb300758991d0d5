"""Web services that playbooks may ask, each by its name in the settings: no playbook or label can name a host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class WebAnswer:
    """What a service answered; ``cut`` tells that the body was longer than what was read of it."""

    status: int
    content_type: str
    body: bytes
    cut: bool
    seconds: float


class WebService(Protocol):
    """One service at a base address."""

    async def request(self, method: str, path: tuple[str, ...], query: Mapping[str, str]) -> WebAnswer:
        """Ask for the path of these segments below the base address.

        Follows redirects within the same origin only; raises PermanentError for others, UnavailableError when there is
        no answer in time.
        """
        ...
