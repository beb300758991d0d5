"""Changing settings of a real Redis, alone and as a cluster, and putting them back."""

from __future__ import annotations

from typing import Any

import pytest

from hdr_responder.actions.contract import Seen, Undone
from hdr_responder.actions.redis.settings import SetConfig, SetConfigParameters
from hdr_responder.errors import AmbiguousError, ConflictError, PermanentError, UnavailableError
from tests.integration.redis.caches import TARGET, Site, grant_for, perform, prepare, reached, step
from tests.services.redis import run_redis
from tests.services.relay import AnswerLoser

pytestmark = pytest.mark.service

SET = SetConfig()
POLICY = "maxmemory-policy"


def parameters(**more: Any) -> SetConfigParameters:
    return SetConfigParameters.model_validate({"target": TARGET, "setting": POLICY, "value": "allkeys-lru"} | more)


async def test_it_is_set_on_every_node_and_put_back(site: Site) -> None:
    grant_for(site, SET, parameters())

    state, result = await perform(SET, step(site.target()), parameters())

    assert site.config(POLICY) == {"allkeys-lru"}
    assert (result.changed, result.was, result.nodes) == (True, "noeviction", len(site.nodes))
    observed = await SET.observe(step(site.target()), parameters(), state)
    assert (observed.seen, observed.result) == (Seen.TOOK_EFFECT, result)
    assert await SET.undo(step(site.target()), parameters(), state) is Undone.UNDONE
    assert site.config(POLICY) == {"noeviction"}
    assert await SET.undo(step(site.target()), parameters(), state) is Undone.NOTHING_TO_UNDO


@pytest.mark.parametrize(
    ("setting", "value", "held"),
    [
        ("maxmemory", "2gb", str(2 << 30)),
        ("maxmemory-samples", 10, "10"),
        ("lazyfree-lazy-eviction", "yes", "yes"),
        ("lazyfree-lazy-expire", "yes", "yes"),
        ("slowlog-log-slower-than", "-1", "-1"),
        ("slowlog-max-len", 64, "64"),
        ("latency-monitor-threshold", 100, "100"),
        ("timeout", 300, "300"),
        ("tcp-keepalive", 60, "60"),
    ],
)
async def test_every_setting_is_told_back_as_it_was_set(single: Site, setting: str, value: Any, held: str) -> None:
    params = parameters(setting=setting, value=value)
    grant_for(single, SET, params)
    before = single.config(setting)

    state, _ = await perform(SET, step(single.target()), params)

    assert single.config(setting) == {held}
    assert (await SET.observe(step(single.target()), params, state)).seen is Seen.TOOK_EFFECT
    await SET.undo(step(single.target()), params, state)
    assert single.config(setting) == before


async def test_a_rehearsal_changes_nothing(site: Site) -> None:
    grant_for(site, SET, parameters())
    before = [node.admin("CONFIG", "GET", "*") for node in site.nodes]

    state = await prepare(SET, step(site.target()), parameters())

    assert [node.admin("CONFIG", "GET", "*") for node in site.nodes] == before
    assert (await SET.observe(step(site.target()), parameters(), state)).seen is Seen.NO_EFFECT


async def test_done_twice_is_done_once(site: Site) -> None:
    grant_for(site, SET, parameters())
    state, first = await perform(SET, step(site.target()), parameters())

    assert await SET.execute(step(site.target()), parameters(), state) == first
    assert await SET.undo(step(site.target()), parameters(), state) is Undone.UNDONE
    assert site.config(POLICY) == {"noeviction"}


async def test_what_was_set_already_is_left_as_it_is(single: Site) -> None:
    grant_for(single, SET, parameters())
    single.masters[0].admin("CONFIG", "SET", POLICY, "allkeys-lru")

    state, result = await perform(SET, step(single.target()), parameters())

    assert not result.changed
    assert await SET.undo(step(single.target()), parameters(), state) is Undone.NOTHING_TO_UNDO


async def test_what_somebody_changed_since_is_left_alone(site: Site) -> None:
    grant_for(site, SET, parameters())
    state, _ = await perform(SET, step(site.target()), parameters())
    site.nodes[0].admin("CONFIG", "SET", POLICY, "volatile-ttl")

    assert await SET.undo(step(site.target()), parameters(), state) is Undone.DRIFTED

    assert site.config(POLICY) == ({"volatile-ttl", "noeviction"} if site.cluster else {"volatile-ttl"})


async def test_some_nodes_set_and_some_not_is_for_a_person(cluster: Site) -> None:
    grant_for(cluster, SET, parameters())
    state = await prepare(SET, step(cluster.target()), parameters())
    cluster.nodes[0].admin("CONFIG", "SET", POLICY, "allkeys-lru")

    assert (await SET.observe(step(cluster.target()), parameters(), state)).seen is Seen.UNKNOWN


async def test_nodes_that_differed_get_their_own_back(cluster: Site) -> None:
    grant_for(cluster, SET, parameters())
    cluster.nodes[1].admin("CONFIG", "SET", POLICY, "volatile-lru")

    state, result = await perform(SET, step(cluster.target()), parameters())
    await SET.undo(step(cluster.target()), parameters(), state)

    assert result.was == "noeviction,volatile-lru"
    assert cluster.config(POLICY) == {"noeviction", "volatile-lru"}


async def test_a_node_that_left_stops_the_change(cluster: Site) -> None:
    grant_for(cluster, SET, parameters())
    state = await prepare(SET, step(cluster.target()), parameters())
    assert isinstance(state["before"], dict)
    state["before"]["0" * 40] = "noeviction"

    with pytest.raises(ConflictError, match="a node has left the cluster, nothing was set"):
        await SET.execute(step(cluster.target()), parameters(), state)
    assert cluster.config(POLICY) == {"noeviction"}


async def test_a_limit_below_what_is_used_is_refused(site: Site) -> None:
    params = parameters(setting="maxmemory", value="100kb")
    grant_for(site, SET, params)

    for asked in (SET.dry_run, SET.capture):
        with pytest.raises(ConflictError, match=r"uses [0-9]+ bytes, more than 102400"):
            await asked(step(site.target()), params)
    assert site.config("maxmemory") == {"0"}


async def test_a_replica_is_not_changed_by_itself(single: Site) -> None:
    with run_redis("--replicaof", f"127.0.0.1 {single.masters[0].port}") as replica:
        there = Site(masters=(replica,), nodes=(replica,), cluster=None)
        grant_for(there, SET, parameters())

        with pytest.raises(ConflictError, match="is a replica: settings are changed on the master"):
            await SET.dry_run(step(there.target()), parameters())


async def test_a_server_without_the_command_says_so() -> None:
    with run_redis("--rename-command", "CONFIG", "") as server:
        server.admin("ACL", "SETUSER", "responder", "on", ">hunter2", "+@all")
        with pytest.raises(PermanentError, match=r"config\|get: unknown command"):
            await SET.dry_run(step(reached(server.port)), parameters())


async def test_a_lost_answer_is_looked_into(single: Site) -> None:
    grant_for(single, SET, parameters())
    state = await prepare(SET, step(single.target()), parameters())
    async with AnswerLoser(single.masters[0].port, b"SET\r\n") as relay:
        with pytest.raises(AmbiguousError, match="may or may not have been changed"):
            await SET.execute(step(reached(relay.port)), parameters(), state)
        assert relay.cut

    assert (await SET.observe(step(single.target()), parameters(), state)).seen is Seen.TOOK_EFFECT


async def test_a_server_that_is_gone_has_changed_nothing(single: Site) -> None:
    grant_for(single, SET, parameters())
    state = await prepare(SET, step(single.target()), parameters())

    with pytest.raises(UnavailableError):
        await SET.execute(step(reached(1)), parameters(), state)
    assert single.config(POLICY) == {"noeviction"}
