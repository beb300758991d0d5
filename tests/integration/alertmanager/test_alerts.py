"""What fires now, as a real Alertmanager holds it."""

from __future__ import annotations

from typing import Any

import pytest

from hdr_responder.actions.alertmanager.alerts import Alerts, AlertsParameters, AlertsResult
from hdr_responder.adapters.alertmanager import Alertmanager
from hdr_responder.domain.clock import SystemClock
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.errors import ConflictError, NotFoundError, UnavailableError
from tests.integration.alertmanager.desk import Desk
from tests.services.ports import free_port

pytestmark = pytest.mark.service


async def ask(desk: Desk, **more: Any) -> AlertsResult:
    return await Alerts().execute(desk.step(), AlertsParameters.model_validate(more))


def case(desk: Desk) -> list[dict[str, str]]:
    return [{"name": "case", "value": desk.case}]


async def test_the_incidents_alerts(desk: Desk) -> None:
    mine = await desk.fire("Mine", pod="a")
    await desk.fire("Mine", ours=False, pod="b")

    found = await ask(desk)

    assert (found.count, found.firing, found.complete) == (1, 1, True)
    assert found.alerts[0].labels == mine
    assert (found.alerts[0].name, found.alerts[0].state) == ("Mine", "firing")
    assert found.summary == "1 alerts: 1 firing, 0 silenced, 0 inhibited"


async def test_what_matchers_select(desk: Desk) -> None:
    await desk.fire("One", ours=False)
    await desk.fire("Two", ours=False)
    await desk.fire("Three", ours=False)

    found = await ask(desk, matchers=[*case(desk), {"name": "alertname", "any_of": ["One", "Three", "T.o"]}])

    assert {a.name for a in found.alerts} == {"One", "Three"}


async def test_what_is_silenced_and_by_whom(desk: Desk) -> None:
    mine = await desk.fire("Mine")
    silence = await desk.by_a_person(mine)

    found = await ask(desk)

    assert (found.count, found.firing, found.silenced) == (1, 0, 1)
    assert found.alerts[0].silenced_by == (silence,)
    assert [(s.id, s.created_by, s.comment) for s in found.silences] == [(silence, "test", "mine")]


async def test_what_is_inhibited_and_by_what(desk: Desk) -> None:
    await desk.fire("Cause", ours=False)
    await desk.fire("Symptom")

    found = await ask(desk)

    assert (found.count, found.inhibited) == (1, 1)
    assert (found.alerts[0].state, found.alerts[0].inhibited_by) == ("inhibited", ("Cause",))


async def test_many_are_counted_and_some_are_listed(desk: Desk) -> None:
    for i in range(5):
        await desk.fire("Mine", pod=str(i))

    found = await ask(desk, limit=2)

    assert (found.count, len(found.alerts), found.complete) == (5, 2, False)


async def test_none_that_fires_is_an_answer(desk: Desk) -> None:
    assert (await ask(desk)).count == 0
    assert (await ask(desk, matchers=case(desk))).count == 0


@pytest.mark.parametrize("value", ['"} or {a="', ".*", "a|b", "\\", "é", "\n", "$(reboot)", "a=b,c!=d", "x" * 1000])
async def test_a_value_is_a_value(desk: Desk, value: str) -> None:
    await desk.fire("Other", ours=False)
    assert (await ask(desk, matchers=[*case(desk), {"name": "pod", "value": value}])).count == 0
    both = [*case(desk), {"name": "pod", "any_of": [value, "nothing"]}]
    assert (await ask(desk, matchers=both)).count == 0

    await desk.fire("Mine", ours=False, pod=value)

    assert (await ask(desk, matchers=[*case(desk), {"name": "pod", "value": value}])).count == 1
    assert (await ask(desk, matchers=both)).count == 1


async def test_alerts_of_several_sources_need_a_name(desk: Desk) -> None:
    await desk.fire("Mine", source="eu")
    await desk.fire("Mine", source="us", pod="b")

    with pytest.raises(ConflictError, match=r"several Alertmanagers \(eu, us\): name a source"):
        await ask(desk)
    assert (await ask(desk, source="eu")).count == 2


async def test_nobody_to_ask(desk: Desk) -> None:
    await desk.fire("Mine")
    gone = Alertmanager([f"http://user:hunter2@127.0.0.1:{free_port()}"], SystemClock(), timeout=2.0)
    with pytest.raises(UnavailableError) as raised:
        await Alerts().execute(desk.step(gone), AlertsParameters())
    assert "hunter2" not in str(raised.value)
    await gone.close()

    with pytest.raises(NotFoundError, match=r"no alertmanager\.url and no alertmanager\.sources\.eu\.url"):
        Systems().alertmanager("eu")
