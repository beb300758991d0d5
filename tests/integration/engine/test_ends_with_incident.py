"""A silence lasts no longer than the incident that it was made for, however that ends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hdr_responder.adapters.alertmanager import Alertmanager
from hdr_responder.domain.clock import SystemClock
from hdr_responder.domain.ports.alertmanager import Silence
from hdr_responder.domain.ports.store import Job
from hdr_responder.domain.ports.systems import Systems
from tests.conftest import AlertmanagerFactory
from tests.fakes.clock import ManualClock
from tests.integration.engine.alerts import delivery
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import Workshop
from tests.services.alertmanager import Alertmanager as Server
from tests.services.alertmanager import alert

CONFIG = json.dumps({"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]})


@dataclass
class Scene:
    """An incident of one alert, which the playbook has silenced."""

    server: Server
    client: Alertmanager
    workshop: Workshop
    alert: dict[str, Any]

    async def silence(self) -> Silence:
        (silence,) = (await self.client.silences()).silences
        return silence

    async def resolve_alert(self) -> None:
        over = {**self.alert, "status": "resolved", "endsAt": self.workshop.clock.now().isoformat()}
        await self.workshop.receive_body(delivery([over]))
        await self.workshop.intake()


Play = Callable[..., Awaitable[Scene]]


@pytest.fixture
async def play(
    open_with: OpenWorkshop, alertmanager_factory: AlertmanagerFactory, tmp_path: Path
) -> AsyncIterator[Play]:
    """Runs a playbook that silences its alert for two hours, with ``changes`` to that step."""
    server = alertmanager_factory(CONFIG)
    client = Alertmanager([server.url], SystemClock(), settle=timedelta())

    async def run(**changes: Any) -> Scene:
        step = {"id": "quiet", "action": "alertmanager.silence", "with": {"lasts": "2h"}} | changes
        (tmp_path / "playbooks").mkdir()
        (tmp_path / "playbooks" / "hush.yaml").write_text(json.dumps(_playbook(step)))
        workshop = await open_with(
            systems=Systems(alertmanagers={"": client}),
            playbooks=tmp_path / "playbooks",
            clock=ManualClock(datetime.now(UTC)),
        )
        await server.post_alerts(alert("HdrHush", cluster="prod-eu", severity="warning", service="neural-hdr"))
        (held,) = await server.alerts()
        fired = {
            "status": "firing",
            "labels": held["labels"],
            "annotations": {},
            "startsAt": workshop.clock.now().isoformat(),
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "",
            "fingerprint": held["fingerprint"],
        }
        await workshop.receive_body(delivery([fired]))
        await workshop.intake()
        return Scene(server, client, workshop, fired)

    yield run
    await client.close()


def _playbook(step: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "hdr-responder/v1",
        "kind": "Playbook",
        "metadata": {"name": "hush", "summary": "Silences its alert."},
        "match": ['alertname = "HdrHush"'],
        "priorities": ["P1", "P2", "P3", "P4"],
        "guards": {"mode": "auto", "cooldown": "0s"},
        "steps": [step],
        "verify": {"within": "5m", "all": [{"alert": "resolved"}]},
        "on_failure": [{"action": "incident.escalate"}],
    }


async def ended(scene: Scene) -> None:
    """Let the verification end without an answer: the alert is silenced and still fires."""
    await scene.workshop.settle()
    await scene.workshop.pass_time(400, step=20)


async def test_when_a_person_resolves_it(play: Play) -> None:
    scene = await play()
    await ended(scene)
    assert not (await scene.silence()).expired
    (step,) = json.loads((await scene.workshop.run())["plan"])["steps"]
    assert step["undo"] == "taken back if it does not help, or when the incident is resolved"

    await scene.workshop.engine.operations.resolve(1, by="ann")
    await scene.workshop.settle()

    assert (await scene.silence()).expired
    assert await scene.workshop.told("undone") == ["Undo of step quiet: undone"]
    assert await scene.workshop.rows("select 1 from target_locks") == []


async def test_when_its_alerts_end(play: Play) -> None:
    scene = await play()
    await ended(scene)

    await scene.resolve_alert()
    await scene.workshop.settle()

    assert (await scene.silence()).expired


async def test_while_the_run_is_still_at_work(play: Play) -> None:
    scene = await play()
    await scene.workshop.settle()
    assert (await scene.workshop.run())["status"] == "verifying"

    await scene.resolve_alert()
    await scene.workshop.settle()
    await scene.workshop.pass_time(60, step=10)
    await scene.workshop.sweep()
    await scene.workshop.settle()

    assert (await scene.workshop.run())["verification"] == "verified"
    assert (await scene.silence()).expired


async def test_when_it_was_resolved_before_the_step_was_recorded(play: Play) -> None:
    scene = await play()
    create = scene.client.create_silence

    async def resolved_meanwhile(draft: Any) -> str:
        made = await create(draft)
        await scene.workshop.engine.operations.resolve(1, by="ann")
        await scene.workshop.settle(without=[Job.RUN, Job.UNDO])
        return made

    scene.client.create_silence = resolved_meanwhile  # type: ignore[method-assign]
    await ended(scene)
    await scene.workshop.sweep()
    await scene.workshop.settle()

    assert (await scene.silence()).expired


async def test_a_pause_keeps_it_until_it_ends(play: Play) -> None:
    scene = await play()
    await ended(scene)
    await scene.workshop.engine.operations.pause(by="ann")
    await scene.workshop.engine.operations.resolve(1, by="ann")
    await scene.workshop.settle()
    assert not (await scene.silence()).expired

    await scene.workshop.engine.operations.resume(by="ann")
    await scene.workshop.settle()

    assert (await scene.silence()).expired


async def test_one_that_is_to_stay_stays(play: Play) -> None:
    scene = await play(undo="none")
    await ended(scene)

    await scene.workshop.engine.operations.resolve(1, by="ann")
    await scene.workshop.settle()

    assert not (await scene.silence()).expired


async def test_a_server_that_is_away_long_after_the_run_is_tried_again(play: Play) -> None:
    scene = await play()
    await ended(scene)
    await scene.workshop.pass_time(5400, step=600)
    scene.server.stop()
    await scene.workshop.engine.operations.resolve(1, by="ann")
    await scene.workshop.settle()
    assert await scene.workshop.told("undone") == []

    scene.server.start()
    await scene.workshop.pass_time(60, step=10)

    assert (await scene.silence()).expired


async def test_a_silence_that_somebody_took_over_is_left_alone(play: Play) -> None:
    scene = await play()
    await ended(scene)
    silence = await scene.silence()
    await scene.client.expire_silence(silence.id)
    await scene.server.silence(
        {"alertname": "HdrHush"}, ends_at=datetime.now(UTC) + timedelta(hours=3), comment=silence.comment
    )

    await scene.workshop.engine.operations.resolve(1, by="ann")
    await scene.workshop.settle()

    assert [s.created_by for s in (await scene.client.silences()).silences if not s.expired] == ["test"]
    assert await scene.workshop.told("undone") == ["Undo of step quiet: drifted"]
