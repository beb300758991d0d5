"""The `AlertmanagerCluster` port over Alertmanager's API v2, asking all peers of a high-availability cluster.

Peers share silences but not alerts: Prometheus sends to each of them. So firing at any peer is firing, and a peer that
has just started says "absent" of everything that Prometheus has not sent to it again yet.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote

from hdr_responder.adapters.json_http import JsonHttp
from hdr_responder.domain.alerts import Presence
from hdr_responder.domain.clock import Clock
from hdr_responder.domain.matchers import Matcher, Operator
from hdr_responder.domain.ports.alertmanager import (
    SILENCER,
    HeldAlert,
    PresentState,
    Silence,
    SilenceDraft,
    SilenceList,
)
from hdr_responder.errors import (
    AdapterError,
    AmbiguousError,
    ConfigError,
    HdrError,
    NotFoundError,
    UnavailableError,
)

SETTLE = timedelta(minutes=3)
"""How long after its start a peer's "absent" proves nothing; Prometheus sends firing alerts again every minute."""

MAX_FILTER_CHARACTERS = 4000
"""Alerts are compared whole afterwards, so the filters may be cut to what every proxy lets through."""

_EVERY_STATE = [("active", "true"), ("silenced", "true"), ("inhibited", "true"), ("unprocessed", "true")]
_OPERATORS = {(o.is_regex, not o.negates): o for o in Operator}

MAX_SILENCES = 10
"""Silences of one alert that are looked at; more are never all ours."""

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
            for peer, answer in answers.items():
                if answer.presence is presence:
                    return await self._unless_ours(peer, answer)
        await self._refuse_fresh(answers)
        return PresentState(presence=Presence.ABSENT)

    async def alerts(self, matchers: Sequence[Matcher]) -> tuple[HeldAlert, ...]:
        """Return the alerts that match all of these; one that fires at any peer is firing."""
        filters = [("filter", _written(matcher)) for matcher in matchers]
        answers = await self._ask_all(lambda peer: _alerts(peer, filters))
        found: dict[str, HeldAlert] = {}
        for held in answers.values():
            for alert in held:
                if alert.fingerprint not in found or alert.state.presence is Presence.FIRING:
                    found[alert.fingerprint] = alert
        return tuple(sorted(found.values(), key=lambda alert: (alert.starts_at, alert.fingerprint)))

    async def silences(self) -> SilenceList:
        """Return every silence; one that has ended at any peer has ended."""
        answers = await self._ask_all(_silences)
        found: dict[str, Silence] = {}
        for listed in answers.values():
            for silence in listed:
                if silence.id not in found or silence.expired:
                    found[silence.id] = silence
        return SilenceList(silences=tuple(found.values()), complete=len(answers) == len(self._peers))

    async def create_silence(self, draft: SilenceDraft) -> str:
        """Create a silence at one peer, which tells the others."""
        peer = next(iter(await self._ask_all(lambda peer: peer.reach("-/ready"))))
        try:
            answer = await peer.post("api/v2/silences", _body(draft))
        except UnavailableError as e:
            raise AmbiguousError(f"{e}; the silence may or may not have been created") from e
        try:
            return str(answer["silenceID"])
        except (KeyError, TypeError) as e:
            raise AdapterError(f"{peer.where} did not say which silence it created") from e

    async def expire_silence(self, silence_id: str) -> None:
        """End a silence at the first peer that knows it, which tells the others."""
        unknown: NotFoundError | None = None
        for peer in await self._ask_all(lambda peer: peer.reach("-/ready")):
            try:
                return await peer.delete(f"api/v2/silence/{quote(silence_id, safe='')}")
            except NotFoundError as e:
                unknown = e
        raise NotFoundError(f"no Alertmanager knows the silence {silence_id[:40]}") from unknown

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

    async def _unless_ours(self, peer: JsonHttp, answer: PresentState) -> PresentState:
        """Return what only silences of ours suppress as firing; who silenced it that cannot be asked is a person."""
        if not 0 < len(answer.silenced_by) <= MAX_SILENCES or answer.inhibited_by or answer.muted_by:
            return answer
        try:
            found = [await _silence(peer, silence_id) for silence_id in answer.silenced_by]
        except HdrError:
            return answer
        if any(silence.created_by != SILENCER for silence in found):
            return answer
        return replace(answer, presence=Presence.FIRING)

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
    held = await peer.get("api/v2/alerts", _EVERY_STATE + _filters(labels))
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


async def _alerts(peer: JsonHttp, filters: list[tuple[str, str]]) -> list[HeldAlert]:
    try:
        return [
            HeldAlert(
                fingerprint=alert["fingerprint"],
                labels=dict(alert["labels"]),
                starts_at=datetime.fromisoformat(alert["startsAt"]),
                state=_present(alert["status"]),
            )
            for alert in await peer.get("api/v2/alerts", _EVERY_STATE + filters)
        ]
    except (KeyError, TypeError, ValueError) as e:
        raise AdapterError(f"{peer.where} answered with alerts of an unknown form") from e


async def _silences(peer: JsonHttp) -> list[Silence]:
    return [_read(peer, silence) for silence in await peer.get("api/v2/silences")]


async def _silence(peer: JsonHttp, silence_id: str) -> Silence:
    return _read(peer, await peer.get(f"api/v2/silence/{quote(silence_id, safe='')}"))


def _read(peer: JsonHttp, silence: Any) -> Silence:
    try:
        return Silence(
            id=silence["id"],
            matchers=frozenset(_matcher(m) for m in silence["matchers"]),
            ends_at=datetime.fromisoformat(silence["endsAt"]),
            created_by=silence["createdBy"],
            comment=silence["comment"],
            expired=silence["status"]["state"] == "expired",
        )
    except (KeyError, TypeError, ValueError) as e:
        raise AdapterError(f"{peer.where} answered with silences of an unknown form") from e


def _matcher(written: Any) -> Matcher:
    """Read a matcher for comparing only: a regular expression need not be one of ours."""
    operator = _OPERATORS[bool(written["isRegex"]), bool(written.get("isEqual", True))]
    return Matcher(written["name"], operator, written["value"])


def _body(draft: SilenceDraft) -> dict[str, object]:
    matchers = [
        {"name": m.name, "value": m.value, "isRegex": m.operator.is_regex, "isEqual": not m.operator.negates}
        for m in draft.matchers
    ]
    return {
        "matchers": matchers,
        "startsAt": draft.starts_at.isoformat(),
        "endsAt": draft.ends_at.isoformat(),
        "createdBy": SILENCER,
        "comment": draft.comment,
    }


def _written(matcher: Matcher) -> str:
    return f"{_name(matcher.name)}{matcher.operator}{_quoted(matcher.value)}"


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
