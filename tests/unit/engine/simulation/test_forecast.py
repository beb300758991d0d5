"""What guards say beforehand: only what is known then, and of every guard."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hdr_responder.documents.calendar import Calendar
from hdr_responder.domain.alerts import AlertEvent, AlertStatus
from hdr_responder.engine.guards import GUARDS
from hdr_responder.engine.planner import Automation, Planner
from hdr_responder.engine.simulation.forecast import LATER, Beforehand, Forecast, forecast
from hdr_responder.engine.simulation.openings import RECEIVED_AT, openings
from tests.unit.engine.simulation.world import DOWN, NOW, settings, shipped

AT = datetime(2026, 12, 24, 18, tzinfo=UTC)
FREEZE = Calendar.model_validate(
    {
        "apiVersion": "hdr-responder/v1",
        "kind": "Calendar",
        "freezes": [
            {"name": "holidays", "reason": "nobody is there", "from": "2026-12-20T00:00Z", "until": "2027-01-02T00:00Z"}
        ],
    }
)


def event(labels: dict[str, str]) -> AlertEvent:
    return AlertEvent(
        source="default",
        fingerprint="f",
        status=AlertStatus.FIRING,
        labels=labels,
        annotations={},
        starts_at=RECEIVED_AT,
        ends_at=None,
        received_at=RECEIVED_AT,
    )


def asked(
    playbook: str, labels: dict[str, str], *, at: datetime | None = None, calendar: Calendar | None = None
) -> dict[str, Forecast]:
    documents, known = shipped(), settings()
    planner = Planner(
        services=documents.services,
        automation=Automation.of(known),
    )
    (opening,) = openings(documents, [event(labels)], late_window=known.alertmanager.late_window)
    plan = planner.plan(documents.playbook(playbook), opening.incident, opening.firing)
    beforehand = Beforehand(
        planner=planner,
        calendar=calendar or documents.calendar,
        allowances=known.automation.budgets.allowances,
        reach=documents.services.reach,
        at=at,
    )
    found = forecast(plan, opening.incident, beforehand)
    assert [f.guard for f in found] == [g.__name__ for g in GUARDS], "every guard, in order"
    return {f.guard: f for f in found}


def test_what_needs_the_database_or_the_outside_is_asked_later() -> None:
    found = asked("restart-service", DOWN)
    for guard in ("pause", "hold", "cooldown", "budget", "target", "staleness"):
        assert (found[guard].allowed, found[guard].reason) == (None, LATER)


def test_what_is_known_is_decided() -> None:
    found = asked("restart-service", DOWN)
    assert found["resolved"].allowed is True
    assert found["window"].allowed is True
    assert found["playbook_budget"].allowed is True


def test_an_approval_that_is_needed_in_any_case_is_known() -> None:
    found = asked("isolate-service", DOWN | {"alertname": "HdrSecurityBreach"})
    assert found["approval"].allowed is False
    assert "waits for 1 approval" in found["approval"].reason


@pytest.mark.parametrize(("at", "allowed"), [(None, None), (NOW, True), (AT, False)])
def test_the_calendar_decides_when_the_time_is_given(at: datetime | None, allowed: bool | None) -> None:
    found = asked("restart-service", DOWN, at=at, calendar=FREEZE)
    assert found["freeze"].allowed is allowed
