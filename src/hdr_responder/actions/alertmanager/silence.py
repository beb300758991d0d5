"""Silencing an incident's alerts while something is repaired, for a bounded time and no longer than the incident.

Alertmanager keeps no fence and takes no id of ours, but it keeps a comment: the step's key in it tells whether this
very step has already made a silence, so that a worker that takes over makes no second one. What else begins to fire
while the silence stands, and matches it, is silenced too: only what fires when it is made can be counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from hdr_responder.actions.alertmanager.selecting import (
    ALERTNAME,
    LabelMatcher,
    SelectingParameters,
    incident_alerts,
    one_source,
    selected,
)
from hdr_responder.actions.contract import (
    Mutation,
    Observed,
    Permission,
    Result,
    Seen,
    State,
    StepContext,
    Target,
    Undo,
    Undone,
)
from hdr_responder.domain.durations import Duration, format_duration
from hdr_responder.domain.matchers import Matcher, Operator
from hdr_responder.domain.ports.alertmanager import SILENCER, AlertmanagerCluster, HeldAlert, Silence, SilenceDraft
from hdr_responder.errors import ConflictError, UnavailableError

LONGEST = timedelta(hours=24)
SHORTEST = timedelta(minutes=1)
_SHOWN = 5


class SilenceParameters(SelectingParameters):
    """What is silenced, for how long, and why."""

    lasts: Annotated[Duration, Field(ge=SHORTEST, le=LONGEST)] = Field(
        default=timedelta(hours=2), description="At most; it ends with the incident if that is sooner."
    )
    reason: Annotated[str, Field(min_length=1, max_length=500)] = Field(
        default="automation works on it", description="Stands in the silence's comment behind the incident."
    )
    max_others: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0, description="Firing alerts beyond the incident's own that may be silenced too; more are refused."
    )

    @field_validator("reason")
    @classmethod
    def _one_line(cls, reason: str) -> str:
        if not reason.isprintable():
            raise ValueError("must be one line of printable characters")
        return reason


class SilenceResult(Result):
    """The silence that was made."""

    id: str
    ends_at: datetime
    matchers: tuple[str, ...]
    matched: int = Field(description="Alerts that it silenced when it was made.")
    others: int = Field(description="Of these, the ones that are not the incident's.")
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    """What `capture` decided."""

    source: str
    draft: SilenceDraft
    matched: int
    others: int

    def state(self) -> State:
        draft = self.draft
        return {
            "source": self.source,
            "matchers": [[m.name, m.operator.value, m.value] for m in draft.matchers],
            "starts_at": draft.starts_at.isoformat(),
            "ends_at": draft.ends_at.isoformat(),
            "comment": draft.comment,
            "matched": self.matched,
            "others": self.others,
        }

    @staticmethod
    def of(state: State) -> _Planned:
        matchers, matched, others = state["matchers"], state["matched"], state["others"]
        if not isinstance(matchers, list) or not isinstance(matched, int) or not isinstance(others, int):
            raise TypeError("the captured silence cannot be read")
        draft = SilenceDraft(
            matchers=tuple(_matcher(m) for m in matchers),
            starts_at=datetime.fromisoformat(str(state["starts_at"])),
            ends_at=datetime.fromisoformat(str(state["ends_at"])),
            comment=str(state["comment"]),
        )
        return _Planned(source=str(state["source"]), draft=draft, matched=matched, others=others)

    def is_held_by(self, silence: Silence) -> bool:
        """Tell whether a silence still is what we made."""
        return (
            silence.created_by == SILENCER
            and silence.ends_at == self.draft.ends_at
            and silence.matchers == frozenset(self.draft.matchers)
        )

    def result(self, silence_id: str) -> SilenceResult:
        shown = tuple(str(m) for m in self.draft.matchers)
        others = f", {self.others} of them not the incident's" if self.others else ""
        return SilenceResult(
            id=silence_id,
            ends_at=self.draft.ends_at,
            matchers=shown,
            matched=self.matched,
            others=self.others,
            summary=f"{self.matched} alerts silenced until {self.draft.ends_at:%Y-%m-%d %H:%M} UTC{others}",
        )


class CreateSilence(Mutation[SilenceParameters, SilenceResult]):
    """Silences the incident's alerts, or what matchers select of them."""

    name = "alertmanager.silence"
    summary = "Silence the incident's alerts for a while, at most until the incident is resolved."
    example = """
id: quiet
action: alertmanager.silence
with:
  matchers:
    - {name: service, value: "${params.app}"}
  lasts: 1h
  reason: a restart is under way
"""
    parameters = SilenceParameters
    result = SilenceResult
    undoable: ClassVar[Undo] = Undo.RESTORES
    effect_group = "silence"
    holds_fence: ClassVar[bool] = False
    destructive: ClassVar[bool] = False
    awaits_dependencies: ClassVar[bool] = False
    ends_with_incident: ClassVar[bool] = True
    default_timeout_seconds = 30.0

    def permissions(self, params: SilenceParameters) -> tuple[Permission, ...]:
        """Return none: Alertmanager knows no rights."""
        del params
        return ()

    def target(self, params: SilenceParameters) -> Target:
        """Return what the matchers select; silences of other matchers do not wait for each other."""
        matchers = sorted(str(LabelMatcher.model_validate(m).matcher()) for m in params.matchers)
        chosen = ", ".join(matchers) or "of the incident"
        digest = hashlib.sha256(chosen.encode()).hexdigest()[:16]
        key = f"alertmanager:{params.source or ''}:{digest}"
        return Target(key=key, effect_group=self.effect_group, title=f"alerts {chosen}"[:200])

    async def dry_run(self, ctx: StepContext, params: SilenceParameters) -> None:
        """Look what would be silenced; Alertmanager has no rehearsal.

        Raises ConflictError when no alert of the incident would be, or more than ``max_others`` beyond them.
        """
        await _plan(ctx, params)

    async def capture(self, ctx: StepContext, params: SilenceParameters) -> State:
        """Decide matchers, end and comment, once."""
        return (await _plan(ctx, params)).state()

    async def execute(self, ctx: StepContext, params: SilenceParameters, state: State) -> SilenceResult:
        """Create the silence unless this step already did; raises ConflictError when its time is over."""
        del params
        planned = _Planned.of(state)
        cluster = ctx.systems.alertmanager(planned.source)
        ours, _ = await _made(cluster, ctx)
        if ours:
            return planned.result(ours[0].id)
        if planned.draft.ends_at <= ctx.clock.now():
            raise ConflictError(f"the silence was to end at {planned.draft.ends_at:%H:%M} UTC, which is over")
        return planned.result(await cluster.create_silence(planned.draft))

    async def observe(self, ctx: StepContext, params: SilenceParameters, state: State) -> Observed[SilenceResult]:
        """Look for a silence with this step's key, expired or not; a peer that does not answer may know one."""
        del params
        planned = _Planned.of(state)
        ours, complete = await _made(ctx.systems.alertmanager(planned.source), ctx)
        if ours:
            return Observed(seen=Seen.TOOK_EFFECT, result=planned.result(ours[0].id), detail=f"silence {ours[0].id}")
        if complete:
            return Observed(seen=Seen.NO_EFFECT, detail="no silence carries this step")
        return Observed(seen=Seen.UNKNOWN, detail="a peer of Alertmanager does not answer, and may know the silence")

    async def undo(self, ctx: StepContext, params: SilenceParameters, state: State) -> Undone:
        """Expire the silence, unless somebody moved its end, its matchers or its owner."""
        del params
        planned = _Planned.of(state)
        cluster = ctx.systems.alertmanager(planned.source)
        made, complete = await _made(cluster, ctx)
        active = [silence for silence in made if not silence.expired]
        if not made and not complete:
            raise UnavailableError("a peer of Alertmanager does not answer, and may know the silence")
        ours = [silence for silence in active if planned.is_held_by(silence)]
        for silence in ours:
            await cluster.expire_silence(silence.id)
        if len(ours) < len(active):
            return Undone.DRIFTED
        return Undone.UNDONE if ours else Undone.NOTHING_TO_UNDO


async def _plan(ctx: StepContext, params: SilenceParameters) -> _Planned:
    """Decide the silence from what fires now; raises ConflictError when it would hit too little or too much."""
    alerts = await incident_alerts(ctx)
    source = one_source(params, alerts)
    matchers = selected(params, alerts)
    mine = {alert.fingerprint for alert in alerts}
    held = await ctx.systems.alertmanager(source).alerts(matchers)
    others = [alert for alert in held if alert.fingerprint not in mine]
    if len(others) == len(held):
        raise ConflictError(f"no alert of {ctx.incident_ref} fires that {_text(matchers)} would silence")
    if len(others) > params.max_others:
        told = ", ".join(sorted({_named(alert) for alert in others})[:_SHOWN])
        raise ConflictError(
            f"{_text(matchers)} would silence {len(others)} alerts that are not of {ctx.incident_ref}, more than "
            f"max_others {params.max_others}: {told}"
        )
    starts_at = ctx.clock.now().replace(microsecond=0)
    comment = f"{ctx.incident_ref}: {params.reason}, for {format_duration(params.lasts)} {_mark(ctx)}"
    draft = SilenceDraft(matchers=matchers, starts_at=starts_at, ends_at=starts_at + params.lasts, comment=comment)
    return _Planned(source=source, draft=draft, matched=len(held), others=len(others))


async def _made(cluster: AlertmanagerCluster, ctx: StepContext) -> tuple[list[Silence], bool]:
    """Return the silences that carry this step's key, active ones first, and whether every peer was heard."""
    listed = await cluster.silences()
    ours = [silence for silence in listed.silences if silence.comment.endswith(_mark(ctx))]
    return sorted(ours, key=lambda silence: (silence.expired, silence.id)), listed.complete


def _mark(ctx: StepContext) -> str:
    return f"[{ctx.step_key}]"


def _matcher(stored: object) -> Matcher:
    if not isinstance(stored, list) or len(stored) != 3:
        raise TypeError("the captured matcher cannot be read")
    name, operator, value = map(str, stored)
    return Matcher(name, Operator(operator), value)


def _text(matchers: Sequence[Matcher]) -> str:
    return f"{{{', '.join(str(m) for m in matchers)}}}"[:500]


def _named(alert: HeldAlert) -> str:
    return alert.labels.get(ALERTNAME, alert.fingerprint)[:100]
