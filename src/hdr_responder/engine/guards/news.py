"""Whether the alert that a run is for is fresh news."""

from __future__ import annotations

from hdr_responder.domain.alerts import Presence
from hdr_responder.domain.durations import format_duration
from hdr_responder.domain.runs import GuardVerdict, Trigger
from hdr_responder.engine.guards.question import ASK_AGAIN, Question, verdict, whole


def staleness(q: Question) -> GuardVerdict:
    """Only fresh news is acted on: the alert fires now, or its last message is young, or a person approved."""
    if q.run.requested_by is not None:
        return verdict("staleness", True, f"{q.run.requested_by} asked for it")
    if q.run.trigger is Trigger.SCHEDULE:
        return verdict("staleness", allowed=True, reason="the clock started it")
    if q.survey.presence is Presence.UNKNOWN:
        return _age(q)
    allowed, reason = _PRESENCE[q.survey.presence]
    return verdict("staleness", allowed, reason, None if allowed else q.now + ASK_AGAIN)


_PRESENCE = {
    Presence.FIRING: (True, "Alertmanager says that it fires now"),
    Presence.SUPPRESSED: (False, "the alert is silenced or inhibited in Alertmanager"),
    Presence.ABSENT: (False, "Alertmanager does not know the alert any more"),
}


def _age(q: Question) -> GuardVerdict:
    """Judge by the last message, since Alertmanager could not be asked."""
    last = q.facts.last_alert_at
    heard = f"last heard {format_duration(whole(q.now - last))} ago" if last else "never heard firing"
    if last is not None and q.now - last <= q.rules.max_age:
        return verdict("staleness", True, heard)
    if q.approved:
        return verdict("staleness", True, f"{heard}, but a person approved")
    limit = format_duration(q.rules.max_age)
    reason = f"{heard}, over {limit}, and Alertmanager could not be asked: needs approval"
    return verdict("staleness", False, reason, q.now + ASK_AGAIN)
