"""An incident whose alerts a real Alertmanager holds, and the steps that act on them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hdr_responder.actions.alertmanager.silence import CreateSilence, SilenceParameters, SilenceResult
from hdr_responder.actions.contract import Evidence, Fence, State, StepContext
from hdr_responder.adapters.alertmanager import Alertmanager
from hdr_responder.domain.clock import SystemClock
from hdr_responder.domain.ports.alertmanager import IncidentAlert, Silence
from hdr_responder.domain.ports.systems import Systems
from tests.services.alertmanager import Alertmanager as Server

SILENCE = CreateSilence()


class NoEvidence(Evidence):
    """Nothing is kept by these actions."""

    async def keep(self, name: str, media_type: str, content: bytes) -> str:
        raise AssertionError("no artifact is expected")


@dataclass
class Desk:
    """Our records of one incident, INC-7, and a client of the Alertmanager.

    ``case`` is a label of every alert that the test fires, so that tests share the server.
    """

    server: Server
    client: Alertmanager
    case: str = field(default_factory=lambda: uuid.uuid4().hex)
    incident: list[IncidentAlert] = field(default_factory=list)

    async def unresolved(self, incident_ref: str) -> int:
        assert incident_ref == "INC-7"
        return len(self.incident)

    async def firing_alerts(self, incident_ref: str, limit: int) -> tuple[IncidentAlert, ...]:
        assert incident_ref == "INC-7"
        return tuple(self.incident[:limit])

    async def began(self, incident_ref: str) -> datetime:
        raise AssertionError("nobody asks when it began")

    async def fire(self, name: str, *, ours: bool = True, source: str = "default", **labels: str) -> Mapping[str, str]:
        """Let an alert fire; one of ours is the incident's. Returns its labels."""
        wanted = {"alertname": name, "case": self.case, **labels}
        await self.server.post_alerts({"labels": wanted})
        (held,) = [a for a in await self.server.alerts() if a["labels"] == wanted]
        if ours:
            self.incident.append(IncidentAlert(source=source, fingerprint=held["fingerprint"], labels=wanted))
        return wanted

    def step(self, client: Alertmanager | None = None, *, step_id: str = "quiet") -> StepContext:
        """The context of one step of one run."""
        return StepContext(
            fence=Fence(run_id=uuid.UUID(self.case), token=1),
            step_id=step_id,
            incident_ref="INC-7",
            cluster=None,
            systems=Systems(alertmanagers={"": client or self.client}, alerts=self),
            evidence=NoEvidence(),
            clock=SystemClock(),
        )

    def silencing(self, **more: Any) -> SilenceParameters:
        return SilenceParameters.model_validate(more)

    async def perform(self, **more: Any) -> tuple[State, SilenceResult]:
        """A whole step, with the captured state passed through JSON as the store does."""
        ctx, params = self.step(), self.silencing(**more)
        await SILENCE.dry_run(ctx, params)
        state: State = json.loads(json.dumps(await SILENCE.capture(ctx, params)))
        return state, await SILENCE.execute(ctx, params, state)

    async def silences(self) -> list[Silence]:
        """The silences of this test, expired ones included."""
        listed = (await self.client.silences()).silences
        return [s for s in listed if any(self.case in m.value for m in s.matchers)]

    async def by_a_person(self, labels: Mapping[str, str]) -> str:
        """Somebody silences alerts by hand."""
        return await self.server.silence(labels, ends_at=datetime.now(UTC) + timedelta(hours=1), comment="mine")
