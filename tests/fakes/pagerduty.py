"""A server that stands in for PagerDuty: Events API v2, change events, and webhooks v3 towards the product."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from aiohttp import web

from hdr_responder.domain.clock import Clock

from .limits import Window
from .server import Delivered, FakeServer, JsonDict, Reply

EVENT_LIMIT_BYTES = 512 * 1024
DEDUP_KEY_LIMIT = 255
SUMMARY_LIMIT = 1024
ROUTING_KEY_LENGTH = 32
WEBHOOK_DEADLINE_SECONDS = 5.0
SEVERITIES = ("critical", "error", "warning", "info")
ACTIONS = ("trigger", "acknowledge", "resolve")
ENQUEUE = "enqueue"
CHANGE_ENQUEUE = "change.enqueue"


class AlertState(StrEnum):
    """Where an alert is in its life."""

    TRIGGERED = "triggered"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


@dataclass(slots=True, kw_only=True)
class PagerDutyAlert:
    """One alert from its trigger to its resolve; ``log`` holds every accepted event with its time."""

    dedup_key: str
    state: AlertState
    summary: str
    severity: str
    source: str
    event: JsonDict
    log: list[tuple[str, datetime]] = field(default_factory=list)

    @property
    def triggers(self) -> int:
        """How many trigger events the alert absorbed, the first included."""
        return sum(1 for action, _ in self.log if action == "trigger")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookOptions:
    """How a webhook is sent, so that a test can forge, rotate or repeat one.

    ``signature`` replaces the whole header (empty: no header). ``secrets`` signs with several, as during a rotation.
    """

    signature: str | None = None
    secrets: tuple[str, ...] = ()
    webhook_id: str | None = None
    deadline: float = WEBHOOK_DEADLINE_SECONDS


def sign_webhook(body: bytes, keys: Sequence[str]) -> str:
    """Return the ``X-PagerDuty-Signature`` of ``body`` under each of ``keys`` (webhooks v3: HMAC-SHA256, hex)."""
    return ",".join(f"v1={hmac.new(key.encode(), body, hashlib.sha256).hexdigest()}" for key in keys)


class FakePagerDuty(FakeServer):
    """PagerDuty with one integration. ``fail_next`` knows the methods ``enqueue`` and ``change.enqueue``."""

    def __init__(self, *, clock: Clock | None = None, calls_per_minute: int = 120) -> None:
        super().__init__(clock=clock)
        self.routing_key = secrets.token_hex(ROUTING_KEY_LENGTH // 2)
        self.webhook_secret = secrets.token_hex(32)
        self.alerts: list[PagerDutyAlert] = []
        self.changes: list[JsonDict] = []
        self.dropped: list[JsonDict] = []
        self._window = Window(self.clock, calls_per_minute)

    @classmethod
    async def start(cls, *, clock: Clock | None = None, calls_per_minute: int = 120) -> Self:
        """Make one and open its port."""
        server = cls(clock=clock, calls_per_minute=calls_per_minute)
        await server.open()
        return server

    @property
    def events_url(self) -> str:
        """Where alert events go (``HDR_PAGERDUTY__EVENTS_URL``)."""
        return f"{self._base_url}/v2/enqueue"

    @property
    def change_events_url(self) -> str:
        """Where change events go."""
        return f"{self._base_url}/v2/change/enqueue"

    def open_alert(self, dedup_key: str) -> PagerDutyAlert | None:
        """Return the alert with this key that is not resolved; there is at most one."""
        for alert in reversed(self.alerts):
            if alert.dedup_key == dedup_key and alert.state is not AlertState.RESOLVED:
                return alert
        return None

    def open_alerts(self) -> list[PagerDutyAlert]:
        """Return every alert that is not resolved, oldest first."""
        return [alert for alert in self.alerts if alert.state is not AlertState.RESOLVED]

    def alerts_for(self, dedup_key: str) -> list[PagerDutyAlert]:
        """Return every alert that ever had this key, oldest first."""
        return [alert for alert in self.alerts if alert.dedup_key == dedup_key]

    async def webhook(
        self,
        app_url: str,
        event_type: str,
        *,
        data: JsonDict | None = None,
        dedup_key: str | None = None,
        path: str = "/webhooks/pagerduty",
        options: WebhookOptions | None = None,
    ) -> Delivered:
        """Send a webhook v3 to the product and return its answer.

        ``event_type`` is such as ``incident.acknowledged``; ``data`` overrides parts of the resource.
        """
        options = options or WebhookOptions()
        body = json.dumps({"event": self._webhook_event(event_type, dedup_key, data or {})}).encode()
        keys = options.secrets or (self.webhook_secret,)
        signature = sign_webhook(body, keys) if options.signature is None else options.signature
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "PagerDuty-Webhook/V3.0",
            "X-Webhook-Id": options.webhook_id or str(uuid.uuid4()),
            "X-Webhook-Subscription": "PFAKESUB",
        }
        if signature:
            headers["X-PagerDuty-Signature"] = signature
        url = app_url.rstrip("/") + path
        return await self._deliver(url, body=body, headers=headers, deadline=options.deadline)

    def _webhook_event(self, event_type: str, dedup_key: str | None, data: JsonDict) -> JsonDict:
        resource, _, change = event_type.partition(".")
        status = change if change in {"triggered", "acknowledged", "resolved"} else "triggered"
        now = self.clock.now().isoformat().replace("+00:00", "Z")
        incident = {
            "id": "Q1FAKEINCIDENT",
            "type": resource,
            "self": "https://api.pagerduty.com/incidents/Q1FAKEINCIDENT",
            "html_url": "https://example.pagerduty.com/incidents/Q1FAKEINCIDENT",
            "number": 1,
            "status": status,
            "incident_key": dedup_key,
            "created_at": now,
            "title": "An incident",
            "service": {"id": "PFAKESVC", "summary": "A service", "type": "service_reference"},
            "urgency": "high",
        }
        return {
            "id": uuid.uuid4().hex,
            "event_type": event_type,
            "resource_type": resource,
            "occurred_at": now,
            "agent": {"id": "PFAKEUSR", "summary": "On Call", "type": "user_reference"},
            "client": None,
            "data": incident | data,
        }

    def _routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v2/enqueue", self._on_enqueue),
            web.post("/v2/change/enqueue", self._on_change),
        ]

    async def _on_enqueue(self, request: web.Request) -> web.Response:
        raw = await request.read()
        return await self._serve(request, ENQUEUE, _parsed(raw), lambda: self._enqueue(raw))

    async def _on_change(self, request: web.Request) -> web.Response:
        raw = await request.read()
        return await self._serve(request, CHANGE_ENQUEUE, _parsed(raw), lambda: self._change(raw))

    def _enqueue(self, raw: bytes) -> Reply:
        refused = self._refuse(ENQUEUE, raw)
        if refused is not None:
            return refused
        event = _parsed(raw)
        problems = _event_problems(event)
        if problems:
            return _invalid(problems)
        dedup_key = event.get("dedup_key") or uuid.uuid4().hex
        self._apply(event, dedup_key)
        return Reply(
            status=202,
            body={"status": "success", "message": "Event processed", "dedup_key": dedup_key},
        )

    def _change(self, raw: bytes) -> Reply:
        refused = self._refuse(CHANGE_ENQUEUE, raw)
        if refused is not None:
            return refused
        event = _parsed(raw)
        problems = _change_problems(event)
        if problems:
            return _invalid(problems)
        self.changes.append(event)
        return Reply(status=202, body={"status": "success", "message": "Change event processed"})

    def _refuse(self, method: str, raw: bytes) -> Reply | None:
        """Refuse for what comes before the meaning: size, form, key and rate."""
        if len(raw) > EVENT_LIMIT_BYTES:
            return _invalid([f"event is larger than {EVENT_LIMIT_BYTES} bytes"], status=413)
        event = _parsed(raw)
        if not event:
            return _invalid(["JSON parse error"])
        key = event.get("routing_key")
        if not isinstance(key, str) or not key:
            return _invalid(["'routing_key' is missing or blank"])
        if len(key) != ROUTING_KEY_LENGTH:
            return _invalid([f"Length of 'routing_key' is incorrect (should be {ROUTING_KEY_LENGTH} characters)"])
        if self._window.take(f"{method}:{key}"):
            return self._throttled_reply(None)
        if not hmac.compare_digest(key.encode(), self.routing_key.encode()):
            return _invalid(["Invalid routing key"])
        return None

    def _apply(self, event: JsonDict, dedup_key: str) -> None:
        action, now = event["event_action"], self.clock.now()
        alert = self.open_alert(dedup_key)
        if alert is None and action != "trigger":
            self.dropped.append(event)
            return
        if alert is None:
            payload = event["payload"]
            alert = PagerDutyAlert(
                dedup_key=dedup_key,
                state=AlertState.TRIGGERED,
                summary=payload["summary"],
                severity=payload["severity"],
                source=payload["source"],
                event=event,
            )
            self.alerts.append(alert)
        elif action == "acknowledge":
            alert.state = AlertState.ACKNOWLEDGED
        elif action == "resolve":
            alert.state = AlertState.RESOLVED
        alert.log.append((action, now))

    def _error_reply(self, error: str) -> Reply:
        return _invalid([error])

    def _throttled_reply(self, retry_after: int | None) -> Reply:
        return Reply(
            status=429,
            body={
                "status": "throttle exceeded",
                "message": "Requests for this service are arriving too quickly. Please retry later.",
            },
            error="throttle exceeded",
            headers={} if retry_after is None else {"Retry-After": str(retry_after)},
        )


def _parsed(raw: bytes) -> JsonDict:
    """Parse the body; anything that is no JSON object is an empty event."""
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _invalid(errors: list[str], *, status: int = 400) -> Reply:
    return Reply(
        status=status,
        body={"status": "invalid event", "message": "Event object is invalid", "errors": errors},
        error="invalid event",
    )


def _event_problems(event: JsonDict) -> list[str]:
    action = event.get("event_action")
    if action not in ACTIONS:
        return [f"'event_action' must be one of {', '.join(ACTIONS)}"]
    problems = []
    dedup_key = event.get("dedup_key")
    if dedup_key is not None and not isinstance(dedup_key, str):
        problems.append("'dedup_key' must be a string")
    elif dedup_key is not None and len(dedup_key) > DEDUP_KEY_LIMIT:
        problems.append(f"'dedup_key' is too long (maximum is {DEDUP_KEY_LIMIT} characters)")
    if action != "trigger":
        return problems if dedup_key else [*problems, "'dedup_key' is missing or blank"]
    return problems + _payload_problems(event.get("payload")) + _attachment_problems(event)


def _payload_problems(payload: Any) -> list[str]:
    if not isinstance(payload, dict):
        return ["'payload' is missing or blank"]
    problems = _summary_problems(payload)
    source = payload.get("source")
    if not isinstance(source, str) or not source.strip():
        problems.append("'payload.source' is missing or blank")
    if payload.get("severity") not in SEVERITIES:
        problems.append(f"'payload.severity' must be one of {', '.join(SEVERITIES)}")
    return problems + _timestamp_problems(payload)


def _change_problems(event: JsonDict) -> list[str]:
    payload = event.get("payload")
    if not isinstance(payload, dict):
        return ["'payload' is missing or blank"]
    return _summary_problems(payload) + _timestamp_problems(payload) + _attachment_problems(event)


def _summary_problems(payload: JsonDict) -> list[str]:
    summary = payload.get("summary")
    if not isinstance(summary, str) or not summary.strip():
        return ["'payload.summary' is missing or blank"]
    if len(summary) > SUMMARY_LIMIT:
        return [f"'payload.summary' is too long (maximum is {SUMMARY_LIMIT} characters)"]
    return []


def _timestamp_problems(payload: JsonDict) -> list[str]:
    timestamp = payload.get("timestamp")
    if timestamp is None:
        return []
    try:
        datetime.fromisoformat(timestamp)
    except (TypeError, ValueError):
        return ["'payload.timestamp' is not an ISO 8601 time"]
    return []


def _attachment_problems(event: JsonDict) -> list[str]:
    problems = []
    for name, needed in (("links", "href"), ("images", "src")):
        entries = event.get(name, [])
        if not isinstance(entries, list) or not all(isinstance(e, dict) and e.get(needed) for e in entries):
            problems.append(f"'{name}' must be a list of objects with '{needed}'")
    return problems
