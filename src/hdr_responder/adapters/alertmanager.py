"""The `AlertmanagerSource` port over Alertmanager's API v2, asking all peers of a high-availability cluster.

Peers share silences but not alerts: Prometheus sends to each of them. So firing at any peer is firing, and a peer that
has just started says "absent" of everything that Prometheus has not sent to it again yet.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote

from hdr_responder.adapters.json_http import JsonHttp
from hdr_responder.domain.alerts import Presence
from hdr_responder.domain.clock import Clock
from hdr_responder.domain.ports.alertmanager import PresentState
from hdr_responder.errors import AdapterError, ConfigError, HdrError, UnavailableError

SETTLE = timedelta(minutes=3)
"""How long after its start a peer's "absent" proves nothing; Prometheus sends firing alerts again every minute."""

MAX_FILTER_CHARACTERS = 4000
"""Alerts are compared whole afterwards, so the filters may be cut to what every proxy lets through."""

T = TypeVar("T")

_CLASSIC_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Alertmanager:
    """One Alertmanager cluster by the addresses of its peers, which may carry credentials and a path prefix.

    ``timeout`` in seconds bounds each request. Raises ConfigError without an address or for one that is none.
    """

    def __init__(self, urls: Sequence[str], clock: Clock, *, timeout: float = 5.0, settle: timedelta = SETTLE) -> None:
        if not urls:
            raise ConfigError("an Alertmanager cluster needs at least one address")
        self._peers = tuple(JsonHttp("Alertmanager", url, timeout) for url in urls)
        self._clock = clock
        self._settle = settle

    def __repr__(self) -> str:
        return f"Alertmanager({', '.join(peer.where for peer in self._peers)})"

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(peer.close() for peer in self._peers))

    async def state(self, labels: Mapping[str, str], fingerprint: str = "") -> PresentState:
        """Return how the alert with exactly these labels, or with this fingerprint, is held now."""
        wanted = {name: value for name, value in labels.items() if value}
        answers = await self._ask_all(lambda peer: _state(peer, wanted, fingerprint))
        for presence in (Presence.FIRING, Presence.SUPPRESSED):
            for answer in answers.values():
                if answer.presence is presence:
                    return answer
        await self._refuse_fresh(answers)
        return PresentState(presence=Presence.ABSENT)

    async def ping(self) -> tuple[str, ...]:
        """Return the peers that are ready, as ``Alertmanager at http://host:port``; raises when none is."""
        return tuple(peer.where for peer in await self._ask_all(lambda peer: peer.reach("-/ready")))

    async def post_alert(
        self, labels: Mapping[str, str], annotations: Mapping[str, str], *, ends_at: datetime | None = None
    ) -> None:
        """Send an alert to every peer, as Prometheus does; one in the past for ``ends_at`` resolves it.

        Raises when no peer took it.
        """
        alert: dict[str, object] = {"labels": dict(labels), "annotations": dict(annotations)}
        if ends_at is not None:
            alert["endsAt"] = ends_at.isoformat()
        await self._ask_all(lambda peer: peer.post("api/v2/alerts", [alert]))

    async def _ask_all(self, ask: Callable[[JsonHttp], Awaitable[T]]) -> dict[JsonHttp, T]:
        return await _ask(self._peers, ask)

    async def _refuse_fresh(self, peers: Iterable[JsonHttp]) -> None:
        if self._settle <= timedelta():
            return
        started = await _ask(peers, _started_at)
        if min(started.values()) > self._clock.now() - self._settle:
            raise UnavailableError(
                "every Alertmanager that answered has just started: that it has no such alert says nothing"
            )


async def _ask(peers: Iterable[JsonHttp], ask: Callable[[JsonHttp], Awaitable[T]]) -> dict[JsonHttp, T]:
    """Ask all peers at once; the answers of those that answered, or an error when none did."""
    asked = tuple(peers)
    answers: dict[JsonHttp, T] = {}
    errors: list[HdrError] = []

    async def ask_one(peer: JsonHttp) -> None:
        try:
            answers[peer] = await ask(peer)
        except HdrError as e:
            errors.append(e)

    await asyncio.gather(*(ask_one(peer) for peer in asked))
    if not answers:
        raise next((error for error in errors if isinstance(error, UnavailableError)), errors[0])
    return {peer: answers[peer] for peer in asked if peer in answers}


async def _state(peer: JsonHttp, labels: Mapping[str, str], fingerprint: str) -> PresentState:
    query = [("active", "true"), ("silenced", "true"), ("inhibited", "true"), ("unprocessed", "true")]
    held = await peer.get("api/v2/alerts", query + _filters(labels))
    try:
        for alert in held:
            if alert["fingerprint"] == fingerprint or (labels and alert["labels"] == labels):
                return _present(alert["status"])
    except (KeyError, TypeError) as e:
        raise AdapterError(f"{peer.where} answered with alerts of an unknown form") from e
    return PresentState(presence=Presence.ABSENT)


def _present(status: Any) -> PresentState:
    """Read a status; "unprocessed" (just arrived, not yet routed) is firing."""
    suppressed = status["state"] == "suppressed"
    return PresentState(
        presence=Presence.SUPPRESSED if suppressed else Presence.FIRING,
        silenced_by=tuple(status.get("silencedBy") or ()),
        inhibited_by=tuple(status.get("inhibitedBy") or ()),
        muted_by=tuple(status.get("mutedBy") or ()),
    )


def _filters(labels: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return matchers for as many labels as fit, alertname first; without labels all alerts are looked through."""
    filters: list[tuple[str, str]] = []
    left = MAX_FILTER_CHARACTERS
    for name in sorted(labels, key=lambda name: (name != "alertname", name)):
        matcher = f"{_name(name)}={_quoted(labels[name])}"
        left -= len(quote(matcher))
        if left < 0:
            break
        filters.append(("filter", matcher))
    return filters


def _name(name: str) -> str:
    return name if _CLASSIC_NAME.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    """Quote with the escapes that the classic and the UTF-8 matcher parser read alike."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


async def _started_at(peer: JsonHttp) -> datetime:
    status = await peer.get("api/v2/status")
    try:
        return datetime.fromisoformat(status["uptime"])
    except (KeyError, TypeError, ValueError) as e:
        raise AdapterError(f"{peer.where} does not say since when it runs") from e
