"""The PagerDuty lane (Events API v2): pages, and tells the pager what became of them.

An episode of an incident is one PagerDuty alert: its dedup key makes a repeated page harmless, and a reopened incident
pages anew (PagerDuty contract).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from hdr_responder.adapters.rate_limits import RateLimit, RateLimits, ThrottledError
from hdr_responder.domain.alerts import Occurrence
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.notifications import Lane, Notification, NotificationKind
from hdr_responder.domain.ports.people import Posted
from hdr_responder.domain.ports.records import IncidentRecord
from hdr_responder.domain.ports.store import Message
from hdr_responder.domain.priorities import Priority
from hdr_responder.errors import AdapterError, ConfigError, HdrError, PermanentError, TemporaryError, UnavailableError
from hdr_responder.records import presentation as words

DEFAULT_EVENTS_URL = "https://events.pagerduty.com/v2/enqueue"
EVENTS = RateLimit(name="pagerduty-events", amount=120, seconds=60)
SUMMARY_LIMIT = 1024
SOURCE_LIMIT = 255
EVENT_LIMIT_BYTES = 512 * 1024
ANSWER_LIMIT_BYTES = 64 * 1024
MESSAGE_LIMIT = 300
MAX_ALERTS = 10
MAX_LABELS = 30
LABEL_LIMIT = 300
MAX_RUNS = 5

_ROUTING_KEY = re.compile(r"[A-Za-z0-9]{32}")
_SEVERITIES = {Priority.P1: "critical", Priority.P2: "error", Priority.P3: "warning", Priority.P4: "info"}
_ACTIONS = {NotificationKind.PAGE_ACK: "acknowledge", NotificationKind.PAGE_RESOLVE: "resolve"}

Event = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PagerDutyAccess:
    """How PagerDuty is reached; the routing key is kept out of the ``repr``."""

    routing_key: str = field(repr=False)
    events_url: str = DEFAULT_EVENTS_URL
    timeout_seconds: float = 10.0


class PagerDutySender:
    """Delivers to one integration. Implements LaneSender; raises ConfigError when the address is none."""

    lane = Lane.PAGERDUTY

    def __init__(self, access: PagerDutyAccess, limits: RateLimits) -> None:
        self._access = access
        self._limits = limits
        self._where = _host(access.events_url)
        self._session: aiohttp.ClientSession | None = None

    async def send(self, notification: Notification, record: IncidentRecord | None, message: Message | None) -> Posted:
        """Deliver one notification; see LaneSender.

        The payload may name the ``episode`` that a page was about, since the incident may have been reopened since.
        """
        del message
        match notification.kind:
            case NotificationKind.PAGE:
                await self._enqueue(_trigger(notification, _needed(record)))
            case NotificationKind.PAGE_ACK | NotificationKind.PAGE_RESOLVE:
                key = dedup_key(notification, _needed(record).incident)
                await self._enqueue({"event_action": _ACTIONS[notification.kind], "dedup_key": key})
            case NotificationKind.TEST:
                await self._test(notification)
            case NotificationKind.CARD | NotificationKind.THREAD:
                raise AdapterError(f"PagerDuty shows no {notification.kind}")
        return Posted()

    async def check(self) -> str:
        """Check the routing key's form without paging anybody; see LaneSender."""
        if not _ROUTING_KEY.fullmatch(self._access.routing_key):
            raise PermanentError(
                "PagerDuty: HDR_PAGERDUTY__ROUTING_KEY is not 32 letters and digits: use the integration key of an "
                "Events API v2 integration"
            )
        return f"PagerDuty: the routing key has the right form; nothing was sent to {self._where}"

    async def close(self) -> None:
        """Close the connections; a later event opens them anew."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _test(self, notification: Notification) -> None:
        """Page and resolve at once, under a key of its own."""
        key = f"hdr-responder/test/{notification.id}"
        payload = {
            "summary": "Test page of hdr-responder: nothing has happened, it resolves itself",
            "source": "hdr-responder",
            "severity": "info",
        }
        await self._enqueue({"event_action": "trigger", "dedup_key": key, "payload": payload})
        await self._enqueue({"event_action": "resolve", "dedup_key": key})

    async def _enqueue(self, event: Event) -> None:
        await self._limits.take(EVENTS, "events")
        body = _encode(event | {"routing_key": self._access.routing_key})
        try:
            async with self._opened().post(
                self._access.events_url,
                data=body,
                headers={"Content-Type": "application/json"},
                allow_redirects=False,
            ) as response:
                answer = await _read(response.content)
        except TimeoutError as e:
            raise UnavailableError(f"PagerDuty ({self._where}): no answer in time") from e
        except (aiohttp.ClientError, OSError) as e:
            raise UnavailableError(f"PagerDuty ({self._where}): cannot be reached ({type(e).__name__})") from e
        if response.status != 202:
            raise self._refusal(response.status, response.headers, answer)

    def _refusal(self, status: int, headers: Mapping[str, str], answer: bytes) -> HdrError:
        where = f"PagerDuty ({self._where})"
        if status == 429:
            return ThrottledError(f"{where}: asks to wait", retry_after=_retry_after(headers))
        if status >= 500 or status == 408:
            return TemporaryError(f"{where}: answered {status}", retry_after=_retry_after(headers))
        said = _said(answer).replace(self._access.routing_key, "***")
        return PermanentError(f"{where}: refused with {status}: {said}")

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._access.timeout_seconds)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=True)
        return self._session


def dedup_key(notification: Notification, incident: Incident) -> str:
    """Return the key of the PagerDuty alert that stands for an episode of an incident."""
    episode = notification.payload.get("episode")
    return f"hdr-responder/{incident.ref}/episode-{episode if isinstance(episode, int) else incident.episode}"


def _trigger(notification: Notification, record: IncidentRecord) -> Event:
    incident = record.incident
    runbook = words.runbook_url(record)
    event: Event = {
        "event_action": "trigger",
        "dedup_key": dedup_key(notification, incident),
        "client": "hdr-responder",
        "payload": {
            "summary": _summary(notification, incident),
            "source": words.one_line(incident.cluster, SOURCE_LIMIT) or "hdr-responder",
            "severity": _SEVERITIES[incident.priority],
            "timestamp": incident.started_at.isoformat(),
            "component": words.one_line(incident.service, SOURCE_LIMIT),
            "class": words.one_line(incident.problem, SOURCE_LIMIT),
            "custom_details": _details(record),
        },
    }
    return event | ({"links": [{"href": runbook, "text": "Runbook"}]} if runbook else {})


def _summary(notification: Notification, incident: Incident) -> str:
    """Return the headline, with the reason for the page where it says more than the title."""
    reason = notification.payload.get("text")
    headline = words.headline(incident)
    if not isinstance(reason, str) or not reason.strip() or reason == incident.title:
        return words.shorten(headline, SUMMARY_LIMIT)
    known = f"{incident.title}: "
    told = f"{headline}: {words.one_line(reason.removeprefix(known), SUMMARY_LIMIT)}"
    return words.shorten(told, SUMMARY_LIMIT)


def _details(record: IncidentRecord) -> Event:
    incident = record.incident
    runs = [words.run_line(run) for run, _ in record.runs[-MAX_RUNS:]]
    return {
        "incident": incident.ref,
        "status": str(words.status_line(incident)),
        "priority": words.priority_line(incident),
        "alerts": words.alert_counts(incident),
        "automation": runs or ["nothing has been done automatically"],
        "first_alerts": [_alert(a) for a in record.alerts[:MAX_ALERTS]],
    }


def _alert(occurrence: Occurrence) -> dict[str, str]:
    labels = sorted(occurrence.labels.items())[:MAX_LABELS]
    return {words.one_line(name, LABEL_LIMIT): words.one_line(value, LABEL_LIMIT) for name, value in labels}


def _encode(event: Event) -> bytes:
    """Return the body; a page without its details is better than a page that is refused for its size."""
    body = json.dumps(event).encode()
    if len(body) > EVENT_LIMIT_BYTES:
        slim = event["payload"] | {"custom_details": {"note": "left out, they were too large"}}
        body = json.dumps(event | {"payload": slim}).encode()
    return body


async def _read(content: aiohttp.StreamReader) -> bytes:
    """Return the answer's beginning; one read would return what has arrived so far."""
    answer = bytearray()
    while len(answer) < ANSWER_LIMIT_BYTES and (chunk := await content.read(ANSWER_LIMIT_BYTES)):
        answer += chunk
    return bytes(answer)


def _needed(record: IncidentRecord | None) -> IncidentRecord:
    if record is None:
        raise AdapterError("PagerDuty: this notification needs an incident")
    return record


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 6 else None


def _said(answer: bytes) -> str:
    """Return PagerDuty's own words about what is wrong."""
    try:
        body = json.loads(answer)
    except ValueError:
        return "no explanation was given"
    if not isinstance(body, dict):
        return "no explanation was given"
    errors = body.get("errors")
    told = [str(body.get("message") or ""), *(map(str, errors) if isinstance(errors, list) else [])]
    return words.one_line("; ".join(t for t in told if t), MESSAGE_LIMIT) or "no explanation was given"


def _host(url: str) -> str:
    try:
        parsed = URL(url)
    except ValueError:
        parsed = URL()
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ConfigError("HDR_PAGERDUTY__EVENTS_URL is not of the form https://host/path")
    return parsed.host
