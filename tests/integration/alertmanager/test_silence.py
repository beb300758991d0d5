"""Silencing an incident's alerts at a real Alertmanager, once, within bounds, and taking it back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from pydantic import ValidationError

from hdr_responder.actions.alertmanager.silence import SilenceParameters
from hdr_responder.actions.contract import Seen, Undone
from hdr_responder.adapters.alertmanager import Alertmanager
from hdr_responder.domain.alerts import Presence
from hdr_responder.domain.clock import SystemClock
from hdr_responder.errors import AmbiguousError, ConflictError, TemporaryError, UnavailableError
from tests.integration.alertmanager.conftest import CONFIG
from tests.integration.alertmanager.desk import SILENCE, Desk
from tests.services.alertmanager import run_alertmanager_pair
from tests.services.ports import free_port
from tests.services.relay import AnswerLoser
from tests.services.waiting import eventually

pytestmark = pytest.mark.service


async def test_the_incidents_alerts_are_silenced(desk: Desk) -> None:
    mine = await desk.fire("Mine", pod="a")
    before = datetime.now(UTC)

    _, result = await desk.perform(lasts="30m", reason="restarting")

    (silence,) = await desk.silences()
    assert (silence.id, silence.created_by, silence.expired) == (result.id, "hdr-responder", False)
    assert silence.comment == f"INC-7: restarting, for 30m [{desk.step().step_key}]"
    assert {(m.name, m.value) for m in silence.matchers} == set(mine.items())
    assert abs(silence.ends_at - before - timedelta(minutes=30)) < timedelta(seconds=30)
    assert (result.matched, result.others) == (1, 0)
    assert result.summary == f"1 alerts silenced until {silence.ends_at:%Y-%m-%d %H:%M} UTC"
    (held,) = [a for a in await desk.server.alerts() if a["labels"] == mine]
    assert held["status"]["state"] == "suppressed"


async def test_alerts_of_several_names_share_one_silence(desk: Desk) -> None:
    await desk.fire("One", pod="a", zone="x")
    await desk.fire("Two.+", pod="a", zone="y")

    _, result = await desk.perform()

    assert result.matched == 2
    (silence,) = await desk.silences()
    assert {m.name for m in silence.matchers} == {"alertname", "case", "pod"}
    await desk.fire("Two-other", ours=False, pod="a")
    assert (await desk.client.state({"alertname": "Two-other", "case": desk.case, "pod": "a"})).silenced_by == ()


async def test_a_silence_of_ours_does_not_stop_automation(desk: Desk) -> None:
    mine = await desk.fire("Mine")
    await desk.perform()

    state = await desk.client.state(mine)
    assert (state.presence, len(state.silenced_by)) == (Presence.FIRING, 1)

    await desk.by_a_person(mine)
    state = await desk.client.state(mine)
    assert (state.presence, len(state.silenced_by)) == (Presence.SUPPRESSED, 2)


async def test_an_alert_that_is_inhibited_too_stays_suppressed(desk: Desk) -> None:
    await desk.fire("Cause", ours=False)
    mine = await desk.fire("Symptom")
    await desk.perform()

    assert (await desk.client.state(mine)).presence is Presence.SUPPRESSED


async def test_matchers_of_the_playbook(desk: Desk) -> None:
    await desk.fire("Mine", pod="a")
    await desk.fire("Mine", pod="b")
    matchers = [{"name": "case", "value": desk.case}, {"name": "pod", "any_of": ["b", "c|.*"]}]

    _, result = await desk.perform(matchers=matchers)

    assert (result.matched, result.others) == (1, 0)


async def test_more_than_the_incidents_own_is_refused(desk: Desk) -> None:
    await desk.fire("Mine")
    await desk.fire("Foreign", ours=False)
    matchers = [{"name": "case", "value": desk.case}]

    with pytest.raises(ConflictError, match="1 alerts that are not of INC-7, more than max_others 0: Foreign"):
        await SILENCE.dry_run(desk.step(), desk.silencing(matchers=matchers))
    assert await desk.silences() == []

    _, result = await desk.perform(matchers=matchers, max_others=1)
    assert (result.matched, result.others) == (2, 1)
    assert "1 of them not the incident's" in result.summary


async def test_silencing_nothing_is_refused(desk: Desk) -> None:
    with pytest.raises(ConflictError, match="none of the incident's alerts fires any more"):
        await SILENCE.dry_run(desk.step(), desk.silencing())
    await desk.fire("Foreign", ours=False)
    with pytest.raises(ConflictError, match="no alert of INC-7 fires that"):
        await SILENCE.dry_run(desk.step(), desk.silencing(matchers=[{"name": "case", "value": desk.case}]))


@pytest.mark.parametrize(
    "value", ['"', "}, x=~", ".*", "a|b", "\\", "é", "\n", "$(reboot)", "{{.}}", "${alert.labels}"]
)
async def test_a_label_is_taken_literally(desk: Desk, value: str) -> None:
    mine = await desk.fire("Mine", pod=value)
    await desk.fire("Mine", ours=False, pod="bystander")

    _, result = await desk.perform()

    assert (result.matched, result.others) == (1, 0)
    assert len((await desk.client.state(mine)).silenced_by) == 1
    assert (await desk.client.state({"alertname": "Mine", "case": desk.case, "pod": "bystander"})).silenced_by == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"lasts": "24h1s"},
        {"lasts": "59s"},
        {"reason": ""},
        {"reason": "a\nb"},
        {"reason": "x" * 501},
        {"max_others": -1},
        {"matchers": [{"name": "a"}]},
        {"matchers": [{"name": "a", "value": ""}]},
        {"matchers": [{"name": "", "value": "b"}]},
        {"matchers": [{"name": "a", "value": "b", "any_of": ["c"]}]},
        {"matchers": [{"name": "a", "any_of": ["c", ""]}]},
        {"matchers": [{"name": "a", "value": "b", "regex": True}]},
        {"matchers": ["a=b"]},
    ],
)
def test_parameters_that_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SilenceParameters.model_validate(wrong)


async def test_a_rehearsal_silences_nothing(desk: Desk) -> None:
    await desk.fire("Mine")
    await SILENCE.dry_run(desk.step(), desk.silencing())
    state = await SILENCE.capture(desk.step(), desk.silencing())

    assert await desk.silences() == []
    assert (await SILENCE.observe(desk.step(), desk.silencing(), state)).seen is Seen.NO_EFFECT


async def test_done_twice_is_done_once(desk: Desk) -> None:
    await desk.fire("Mine")
    state, first = await desk.perform()

    assert await SILENCE.execute(desk.step(), desk.silencing(), state) == first
    assert len(await desk.silences()) == 1
    observed = await SILENCE.observe(desk.step(), desk.silencing(), state)
    assert (observed.seen, observed.result) == (Seen.TOOK_EFFECT, first)
    other = await SILENCE.observe(desk.step(step_id="other"), desk.silencing(), state)
    assert other.seen is Seen.NO_EFFECT


async def test_a_silence_whose_time_is_over_is_not_made(desk: Desk) -> None:
    await desk.fire("Mine")
    state = await SILENCE.capture(desk.step(), desk.silencing())
    state["ends_at"] = "2026-01-01T00:00:00+00:00"

    with pytest.raises(ConflictError, match="which is over"):
        await SILENCE.execute(desk.step(), desk.silencing(), state)


async def test_it_is_taken_back(desk: Desk) -> None:
    mine = await desk.fire("Mine")
    state, _ = await desk.perform()

    assert await SILENCE.undo(desk.step(), desk.silencing(), state) is Undone.UNDONE

    (silence,) = await desk.silences()
    assert silence.expired
    assert (await desk.client.state(mine)).silenced_by == ()
    assert await SILENCE.undo(desk.step(), desk.silencing(), state) is Undone.NOTHING_TO_UNDO
    assert (await SILENCE.observe(desk.step(), desk.silencing(), state)).seen is Seen.TOOK_EFFECT


async def test_nothing_made_is_nothing_to_take_back(desk: Desk) -> None:
    await desk.fire("Mine")
    state = await SILENCE.capture(desk.step(), desk.silencing())

    assert await SILENCE.undo(desk.step(), desk.silencing(), state) is Undone.NOTHING_TO_UNDO


@pytest.mark.parametrize("change", [{"createdBy": "ann"}, {"endsAt": "2099-01-01T00:00:00Z"}])
async def test_what_somebody_took_over_is_left_alone(desk: Desk, change: dict[str, str]) -> None:
    await desk.fire("Mine")
    state, result = await desk.perform()
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        async with session.get(f"{desk.server.url}/api/v2/silence/{result.id}") as answer:
            silence = await answer.json()
        edited = {k: silence[k] for k in ("id", "matchers", "startsAt", "endsAt", "createdBy", "comment")} | change
        await session.post(f"{desk.server.url}/api/v2/silences", json=edited)

    assert await SILENCE.undo(desk.step(), desk.silencing(), state) is Undone.DRIFTED
    assert any(not s.expired for s in await desk.silences())


async def test_a_lost_answer_is_looked_into(desk: Desk) -> None:
    await desk.fire("Mine")
    state = await SILENCE.capture(desk.step(), desk.silencing())
    async with AnswerLoser(desk.server.port, b"POST /api/v2/silences") as relay:
        client = Alertmanager([f"http://127.0.0.1:{relay.port}"], SystemClock())
        with pytest.raises(AmbiguousError, match="may or may not have been created"):
            await SILENCE.execute(desk.step(client), desk.silencing(), state)
        assert relay.cut
        await client.close()

    assert (await SILENCE.observe(desk.step(), desk.silencing(), state)).seen is Seen.TOOK_EFFECT
    await SILENCE.execute(desk.step(), desk.silencing(), state)
    assert len(await desk.silences()) == 1


async def test_nobody_to_ask_has_changed_nothing(desk: Desk) -> None:
    await desk.fire("Mine")
    state = await SILENCE.capture(desk.step(), desk.silencing())
    gone = Alertmanager([f"http://127.0.0.1:{free_port()}"], SystemClock(), timeout=2.0)
    for asking in (SILENCE.execute, SILENCE.observe, SILENCE.undo):
        with pytest.raises(UnavailableError):
            await asking(desk.step(gone), desk.silencing(), state)
    await gone.close()


async def test_a_frozen_server_has_changed_nothing(desk: Desk) -> None:
    await desk.fire("Mine")
    state = await SILENCE.capture(desk.step(), desk.silencing())
    client = Alertmanager([desk.server.url], SystemClock(), timeout=0.5)
    desk.server.process.suspend()
    try:
        with pytest.raises(TemporaryError):
            await SILENCE.execute(desk.step(client), desk.silencing(), state)
    finally:
        desk.server.process.resume()
        await client.close()
    assert await desk.silences() == []


async def test_peers_share_a_silence_and_one_that_is_silent_may_know_more() -> None:
    with run_alertmanager_pair(CONFIG, duplicates=False) as pair:
        both = Alertmanager([server.url for server in pair], SystemClock(), settle=timedelta())
        second = Alertmanager([pair[1].url], SystemClock(), settle=timedelta())
        desk = Desk(pair[0], both)
        await desk.fire("Mine")
        state = await SILENCE.capture(desk.step(), desk.silencing())
        pair[1].process.suspend()
        half = Alertmanager([server.url for server in pair], SystemClock(), timeout=0.5, settle=timedelta())
        observed = await SILENCE.observe(desk.step(half), desk.silencing(), state)
        assert observed.seen is Seen.UNKNOWN
        with pytest.raises(UnavailableError, match="may know the silence"):
            await SILENCE.undo(desk.step(half), desk.silencing(), state)
        pair[1].process.resume()

        await SILENCE.execute(desk.step(), desk.silencing(), state)

        async def known_to_the_second() -> bool:
            return (await SILENCE.observe(desk.step(second), desk.silencing(), state)).seen is Seen.TOOK_EFFECT

        async with asyncio.timeout(20):
            await eventually(known_to_the_second)
        pair[0].process.kill()
        assert await SILENCE.undo(desk.step(), desk.silencing(), state) is Undone.UNDONE
        for client in (both, second, half):
            await client.close()
