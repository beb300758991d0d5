"""The port to Alertmanager on a real pair of peers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from hdr_responder.adapters.alertmanager import Alertmanager
from hdr_responder.domain.alerts import Presence
from hdr_responder.domain.clock import SystemClock
from hdr_responder.domain.ports.alertmanager import PresentState
from hdr_responder.errors import ConfigError, UnavailableError
from tests.fakes.clock import ManualClock
from tests.services.alertmanager import Alertmanager as Server
from tests.services.alertmanager import alert, run_alertmanager_pair
from tests.services.ports import free_port
from tests.services.waiting import eventually

pytestmark = pytest.mark.service

CONFIG = json.dumps(
    {
        "route": {"receiver": "nobody", "group_wait": "100ms"},
        "receivers": [{"name": "nobody"}],
        "inhibit_rules": [
            {"source_matchers": ["alertname=Cause"], "target_matchers": ["alertname=Symptom"], "equal": ["case"]}
        ],
    }
)
DEADLINE = 20.0
NOW = timedelta()


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Server, Server]]:
    with run_alertmanager_pair(CONFIG) as started:
        yield started


@pytest.fixture
async def cluster(pair: tuple[Server, Server]) -> AsyncIterator[Alertmanager]:
    client = Alertmanager([server.url for server in pair], SystemClock(), settle=NOW)
    yield client
    await client.close()


async def suppressed(cluster: Alertmanager, mine: dict[str, str]) -> PresentState:
    async def ask() -> PresentState | None:
        state = await cluster.state(mine)
        return state if state.presence is Presence.SUPPRESSED else None

    state = await eventually(ask)
    assert state is not None
    return state


def labels(name: str, **more: str) -> dict[str, str]:
    return {"alertname": name, "severity": "critical", **more}


async def test_firing_then_resolved(cluster: Alertmanager) -> None:
    mine = labels("Fires", case="resolved")
    await cluster.post_alert(mine, {"summary": "a test"})
    assert (await cluster.state(mine)).presence is Presence.FIRING

    await cluster.post_alert(mine, {}, ends_at=datetime.now(UTC) - timedelta(seconds=1))

    assert await cluster.state(mine) == PresentState(presence=Presence.ABSENT)


async def test_firing_at_any_peer_counts(cluster: Alertmanager, pair: tuple[Server, Server]) -> None:
    for peer in pair:
        mine = labels("OnePeer", port=str(peer.port))
        await peer.post_alerts({"labels": mine})

        assert (await cluster.state(mine)).presence is Presence.FIRING


async def test_only_the_very_alert_counts(cluster: Alertmanager) -> None:
    await cluster.post_alert(labels("Alike", pod="a", extra="1"), {})

    assert (await cluster.state(labels("Alike", pod="a"))).presence is Presence.ABSENT
    assert (await cluster.state(labels("Alike", pod="a", extra="1", empty=""))).presence is Presence.FIRING


async def test_a_fingerprint_is_enough(cluster: Alertmanager, pair: tuple[Server, Server]) -> None:
    await cluster.post_alert(labels("Printed"), {})
    (fingerprint,) = {a["fingerprint"] for a in await pair[0].alerts() if a["labels"]["alertname"] == "Printed"}

    assert (await cluster.state({}, fingerprint)).presence is Presence.FIRING
    assert (await cluster.state({}, "0123456789abcdef")).presence is Presence.ABSENT
    assert (await cluster.state({})).presence is Presence.ABSENT


@pytest.mark.parametrize(
    "value", ['say "hi"', "back\\slash", "a\nb", "tab\there", "ünï", "{a=~'.*'}", ",", " edge ", "\\", '"', "x" * 9000]
)
async def test_every_value_is_found(cluster: Alertmanager, value: str) -> None:
    mine = labels("Quoted", value=value)
    await cluster.post_alert(mine, {})

    assert (await cluster.state(mine)).presence is Presence.FIRING
    assert (await cluster.state(labels("Quoted", value=value + "x"))).presence is Presence.ABSENT


async def test_a_name_beyond_the_classic_ones_is_found(cluster: Alertmanager) -> None:
    mine = labels("Named", **{"kubernetes.io/name": "x"})
    await cluster.post_alert(mine, {})

    assert (await cluster.state(mine)).presence is Presence.FIRING


async def test_silenced(cluster: Alertmanager, pair: tuple[Server, Server]) -> None:
    mine = labels("Silent")
    ends_at = datetime.now(UTC) + timedelta(hours=1)
    silences = [await peer.silence({"alertname": "Silent"}, ends_at=ends_at) for peer in pair]
    await cluster.post_alert(mine, {})

    state = await suppressed(cluster, mine)

    assert set(state.silenced_by) & set(silences)
    assert state.inhibited_by == ()


async def test_inhibited(cluster: Alertmanager) -> None:
    await cluster.post_alert(labels("Cause", case="inhibited"), {})
    await cluster.post_alert(labels("Symptom", case="inhibited"), {})

    state = await suppressed(cluster, labels("Symptom", case="inhibited"))

    assert len(state.inhibited_by) == 1
    assert state.silenced_by == ()


async def test_one_peer_is_enough(pair: tuple[Server, Server]) -> None:
    gone = f"http://user:hunter2@127.0.0.1:{free_port()}"
    client = Alertmanager([gone, pair[1].url], SystemClock(), settle=NOW)
    mine = labels("OneLeft")
    await pair[1].post_alerts(alert("OneLeft", severity="critical"))

    assert (await client.state(mine)).presence is Presence.FIRING
    assert (await client.state(labels("Nothing"))).presence is Presence.ABSENT
    assert await client.ping() == (f"Alertmanager at {pair[1].url}",)
    await client.close()


async def test_no_peer_is_no_answer() -> None:
    client = Alertmanager([f"http://user:hunter2@127.0.0.1:{free_port()}"], SystemClock(), timeout=2.0)

    for asking in (client.state(labels("Any")), client.ping(), client.post_alert(labels("Any"), {})):
        with pytest.raises(UnavailableError, match=r"Alertmanager at http://127\.0\.0\.1") as raised:
            await asking
        assert "hunter2" not in str(raised.value)
    assert "hunter2" not in repr(client)
    await client.close()


async def test_a_frozen_peer_does_not_hide_the_other(pair: tuple[Server, Server]) -> None:
    client = Alertmanager([server.url for server in pair], SystemClock(), timeout=1.0, settle=NOW)
    await pair[1].post_alerts(alert("Thawed", severity="critical"))
    pair[0].process.suspend()
    try:
        async with asyncio.timeout(DEADLINE):
            assert (await client.state(labels("Thawed"))).presence is Presence.FIRING
    finally:
        pair[0].process.resume()
        await client.close()


async def test_absence_right_after_a_start_says_nothing(pair: tuple[Server, Server]) -> None:
    await pair[0].post_alerts(alert("Settled", severity="critical"))
    clock = ManualClock(datetime.now(UTC))
    client = Alertmanager([server.url for server in pair], clock, settle=timedelta(minutes=10))

    with pytest.raises(UnavailableError, match="just started"):
        await client.state(labels("Nothing"))
    assert (await client.state(labels("Settled"))).presence is Presence.FIRING
    clock.advance(3600)
    assert (await client.state(labels("Nothing"))).presence is Presence.ABSENT
    await client.close()


def test_an_address_is_needed() -> None:
    with pytest.raises(ConfigError, match="at least one address"):
        Alertmanager([], SystemClock())
    with pytest.raises(ConfigError, match="the address of Alertmanager"):
        Alertmanager(["localhost"], SystemClock())
