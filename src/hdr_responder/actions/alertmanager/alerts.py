"""What fires now, as Alertmanager itself holds it: a delivery shows neither silenced nor inhibited alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from hdr_responder.actions.alertmanager.selecting import (
    ALERTNAME,
    SelectingParameters,
    incident_alerts,
    one_source,
    selected,
)
from hdr_responder.actions.contract import Permission, Read, Result, StepContext
from hdr_responder.domain.alerts import Presence
from hdr_responder.domain.ports.alertmanager import AlertmanagerCluster, HeldAlert

_MAX_LABELS = 30
_MAX_TEXT = 200


class AlertsParameters(SelectingParameters):
    """Which alerts, and how many are shown."""

    limit: Annotated[int, Field(ge=1, le=200)] = Field(
        default=50, description="Alerts that are listed; all are counted."
    )


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ShownAlert(_Shown):
    """One alert; ``state`` is firing, silenced, inhibited or muted."""

    name: str
    labels: dict[str, str]
    state: str
    since: datetime
    silenced_by: tuple[str, ...]
    inhibited_by: tuple[str, ...] = Field(description="Names of the alerts that inhibit it, else their fingerprints.")


class ShownSilence(_Shown):
    """A silence that keeps some of the alerts quiet."""

    id: str
    created_by: str
    comment: str
    ends_at: datetime


class AlertsResult(Result):
    """What Alertmanager holds."""

    count: int
    firing: int = Field(description="Neither silenced nor inhibited nor muted.")
    silenced: int
    inhibited: int
    alerts: tuple[ShownAlert, ...]
    silences: tuple[ShownSilence, ...] = Field(
        description="Those that silence alerts of the list; ours are by hdr-responder."
    )
    complete: bool = Field(description="Whether all alerts are listed.")
    summary: str


class Alerts(Read[AlertsParameters, AlertsResult]):
    """What fires now, and what is silenced or inhibited by whom."""

    name = "alertmanager.alerts"
    summary = "List the alerts that Alertmanager holds for the incident or for matchers, suppressed ones included."
    example = """
id: firing
action: alertmanager.alerts
with:
  matchers:
    - {name: service, value: "${params.app}"}
"""
    parameters = AlertsParameters
    result = AlertsResult
    default_timeout_seconds = 30.0

    def permissions(self, params: AlertsParameters) -> tuple[Permission, ...]:
        """Return none: Alertmanager knows no rights."""
        del params
        return ()

    async def execute(self, ctx: StepContext, params: AlertsParameters) -> AlertsResult:
        """Raise UnavailableError when no peer answers; an incident none of whose alerts fires has none."""
        ours = await incident_alerts(ctx) if not params.matchers or params.source is None else ()
        if not params.matchers and not ours:
            return _result((), {}, params.limit, ())
        cluster = ctx.systems.alertmanager(one_source(params, ours))
        found = await cluster.alerts(selected(params, ours))
        if not params.matchers:
            mine = {alert.fingerprint for alert in ours}
            found = tuple(alert for alert in found if alert.fingerprint in mine)
        shown = found[: params.limit]
        return _result(found, await _inhibitors(cluster, shown), params.limit, await _silences(cluster, shown))


async def _silences(cluster: AlertmanagerCluster, alerts: Sequence[HeldAlert]) -> tuple[ShownSilence, ...]:
    wanted = {silence_id for alert in alerts for silence_id in alert.state.silenced_by}
    if not wanted:
        return ()
    return tuple(
        ShownSilence(id=s.id, created_by=s.created_by[:_MAX_TEXT], comment=s.comment[:_MAX_TEXT], ends_at=s.ends_at)
        for s in (await cluster.silences()).silences
        if s.id in wanted
    )


async def _inhibitors(cluster: AlertmanagerCluster, alerts: Sequence[HeldAlert]) -> Mapping[str, str]:
    """Return the names of the alerts that inhibit these, by their fingerprints."""
    wanted = {fingerprint for alert in alerts for fingerprint in alert.state.inhibited_by}
    if not wanted:
        return {}
    return {a.fingerprint: _name(a) for a in await cluster.alerts(()) if a.fingerprint in wanted}


def _result(
    found: Sequence[HeldAlert], inhibitors: Mapping[str, str], limit: int, silences: tuple[ShownSilence, ...]
) -> AlertsResult:
    states = [_state(alert) for alert in found]
    silenced, inhibited, firing = (states.count(s) for s in ("silenced", "inhibited", "firing"))
    return AlertsResult(
        count=len(found),
        firing=firing,
        silenced=silenced,
        inhibited=inhibited,
        alerts=tuple(_shown(alert, inhibitors) for alert in found[:limit]),
        silences=silences,
        complete=len(found) <= limit,
        summary=f"{len(found)} alerts: {firing} firing, {silenced} silenced, {inhibited} inhibited",
    )


def _state(alert: HeldAlert) -> str:
    if alert.state.presence is Presence.FIRING:
        return "firing"
    if alert.state.silenced_by:
        return "silenced"
    return "inhibited" if alert.state.inhibited_by else "muted"


def _shown(alert: HeldAlert, inhibitors: Mapping[str, str]) -> ShownAlert:
    return ShownAlert(
        name=_name(alert),
        labels={n[:_MAX_TEXT]: v[:_MAX_TEXT] for n, v in sorted(alert.labels.items())[:_MAX_LABELS]},
        state=_state(alert),
        since=alert.starts_at,
        silenced_by=alert.state.silenced_by,
        inhibited_by=tuple(inhibitors.get(f, f) for f in alert.state.inhibited_by),
    )


def _name(alert: HeldAlert) -> str:
    return alert.labels.get(ALERTNAME, "")[:_MAX_TEXT]
