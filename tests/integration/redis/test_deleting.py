"""Deleting keys by pattern on a real Redis, alone and as a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from hdr_responder.actions.contract import Seen, State, Undone
from hdr_responder.actions.redis.keys import DeleteByPattern, DeleteByPatternParameters
from hdr_responder.errors import AmbiguousError, ConflictError, UnavailableError
from tests.integration.redis.caches import TARGET, Site, grant_for, perform, prepare, reached, step
from tests.services.redis import run_redis
from tests.services.relay import AnswerLoser

pytestmark = pytest.mark.service

DELETE = DeleteByPattern()


def parameters(**more: Any) -> DeleteByPatternParameters:
    return DeleteByPatternParameters.model_validate({"target": TARGET, "pattern": "stale:*", **more})


def stale(count: int) -> dict[str | bytes, str]:
    return {f"stale:{i}": "v" for i in range(count)}


async def test_what_matches_is_deleted_and_nothing_else(site: Site) -> None:
    grant_for(site, DELETE, parameters())
    site.put(stale(250) | {"fresh:1": "v", "Stale:1": "v", "xstale:1": "v"})

    state, result = await perform(DELETE, step(site.target()), parameters())

    assert site.keys() == {b"fresh:1", b"Stale:1", b"xstale:1"}
    assert (result.matched, result.deleted) == (250, 250)
    assert result.summary == "250 of 250 keys of stale:* deleted"
    observed = await DELETE.observe(step(site.target()), parameters(), state)
    assert (observed.seen, observed.result) == (Seen.TOOK_EFFECT, result)


async def test_a_rehearsal_deletes_nothing(site: Site) -> None:
    grant_for(site, DELETE, parameters())
    site.put(stale(5))
    before = [node.admin("INFO", "keyspace") for node in site.masters]

    state = await prepare(DELETE, step(site.target()), parameters())

    assert [node.admin("INFO", "keyspace") for node in site.masters] == before
    assert (await DELETE.observe(step(site.target()), parameters(), state)).seen is Seen.NO_EFFECT


async def test_too_many_are_refused_as_a_whole(site: Site) -> None:
    grant_for(site, DELETE, parameters())
    site.put(stale(11))

    with pytest.raises(ConflictError, match="more than 10 keys match, so none is deleted"):
        await DELETE.dry_run(step(site.target()), parameters(max_keys=10))
    with pytest.raises(ConflictError, match="more than 10 keys match"):
        await DELETE.capture(step(site.target()), parameters(max_keys=10))
    assert len(site.keys()) == 11
    await prepare(DELETE, step(site.target()), parameters(max_keys=11))


async def test_names_too_long_to_be_captured_are_refused(single: Site) -> None:
    grant_for(single, DELETE, parameters())
    single.put({f"stale:{i}:" + "x" * 200_000: "v" for i in range(6)})

    with pytest.raises(ConflictError, match="names of the 6 keys are longer"):
        await DELETE.dry_run(step(single.target()), parameters())


async def test_what_comes_later_is_left_alone(site: Site) -> None:
    grant_for(site, DELETE, parameters())
    site.put(stale(3))
    state = await prepare(DELETE, step(site.target()), parameters())
    site.put({"stale:new": "v"})

    result = await DELETE.execute(step(site.target()), parameters(), state)

    assert result.deleted == 3
    assert site.keys() == {b"stale:new"}


async def test_done_twice_is_done_once(site: Site) -> None:
    grant_for(site, DELETE, parameters())
    site.put(stale(3))
    state, _ = await perform(DELETE, step(site.target()), parameters())

    again = await DELETE.execute(step(site.target()), parameters(), state)

    assert (again.matched, again.deleted) == (3, 0)
    assert again.summary == "0 of 3 keys of stale:* deleted; 3 had gone before"


async def test_some_gone_and_some_not_is_for_a_person(site: Site) -> None:
    grant_for(site, DELETE, parameters())
    site.put(stale(4))
    state, _ = await perform(DELETE, step(site.target()), parameters())
    site.put({"stale:2": "written again"})

    observed = await DELETE.observe(step(site.target()), parameters(), state)

    assert observed.seen is Seen.UNKNOWN
    assert observed.detail.startswith("1 of 4 keys are there")


async def test_nothing_to_delete_is_no_failure(site: Site) -> None:
    grant_for(site, DELETE, parameters())

    state, result = await perform(DELETE, step(site.target()), parameters())

    assert (result.matched, result.deleted) == (0, 0)
    assert (await DELETE.observe(step(site.target()), parameters(), state)).seen is Seen.TOOK_EFFECT
    assert await DELETE.undo(step(site.target()), parameters(), state) is Undone.NOTHING_TO_UNDO


async def test_any_bytes_are_deleted(site: Site) -> None:
    grant_for(site, DELETE, parameters())
    site.put({b"stale:\x00\xff%25\n": "v", "stale:ü 1": "v"})

    _, result = await perform(DELETE, step(site.target()), parameters())

    assert result.deleted == 2
    assert site.keys() == set()


@pytest.mark.parametrize(
    "pattern",
    [
        "stale:$(reboot)*",
        "stale:'; flushall--*",
        "stale:../../x*",
        "stale:{{.}}*",
        "stale:`id`*",
        "stale:${x}*",
        "stäle*",
    ],
)
async def test_a_pattern_is_a_pattern_and_nothing_more(site: Site, pattern: str) -> None:
    pattern = pattern.replace(" ", "")
    grant_for(site, DELETE, parameters(pattern=pattern))
    site.put({pattern.replace("*", "1"): "v", "stale:1": "v"})

    _, result = await perform(DELETE, step(site.target()), parameters(pattern=pattern))

    assert result.deleted == 1
    assert site.keys() == {b"stale:1"}


async def test_a_replica_refuses(single: Site) -> None:
    single.put(stale(2))
    with run_redis("--replicaof", f"127.0.0.1 {single.masters[0].port}") as replica:
        there = Site(masters=(replica,), nodes=(replica,), cluster=None)
        grant_for(there, DELETE, parameters())
        state: State = {"keys": ["stale:0"]}

        with pytest.raises(ConflictError, match="this is a replica; changes go to the master"):
            await DELETE.dry_run(step(there.target()), parameters())
        with pytest.raises(ConflictError, match="this is a replica"):
            await DELETE.execute(step(there.target()), parameters(), state)
    assert len(single.keys()) == 2


async def test_a_full_memory_is_no_hindrance(single: Site) -> None:
    grant_for(single, DELETE, parameters())
    single.put(stale(3))
    single.masters[0].admin("CONFIG", "SET", "maxmemory", "1kb")

    _, result = await perform(DELETE, step(single.target()), parameters())

    assert result.deleted == 3


async def test_a_lost_answer_is_looked_into(single: Site) -> None:
    grant_for(single, DELETE, parameters())
    single.put(stale(3))
    state = await prepare(DELETE, step(single.target()), parameters())
    async with AnswerLoser(single.masters[0].port, b"UNLINK") as relay:
        with pytest.raises(AmbiguousError, match="may or may not have been deleted"):
            await DELETE.execute(step(reached(relay.port)), parameters(), state)
        assert relay.cut

    assert (await DELETE.observe(step(single.target()), parameters(), state)).seen is Seen.TOOK_EFFECT
    assert single.keys() == set()


async def test_a_server_that_is_gone_has_changed_nothing(single: Site) -> None:
    grant_for(single, DELETE, parameters())
    single.put(stale(3))
    state = await prepare(DELETE, step(single.target()), parameters())

    with pytest.raises(UnavailableError, match="connection refused"):
        await DELETE.execute(step(reached(1)), parameters(), state)
    assert len(single.keys()) == 3


async def test_a_frozen_server_has_changed_nothing(single: Site) -> None:
    grant_for(single, DELETE, parameters())
    single.put(stale(3))
    state = await prepare(DELETE, step(single.target()), parameters())
    single.masters[0].suspend()
    try:
        with pytest.raises(UnavailableError, match="no answer in time"):
            await DELETE.execute(step(single.target(timeout=0.3)), parameters(), state)
    finally:
        single.masters[0].resume()
    assert len(single.keys()) == 3


async def test_a_slot_that_moves_stops_the_deletion(cluster: Site) -> None:
    params = parameters(pattern="stale:{a}:*")
    grant_for(cluster, DELETE, params)
    cluster.put({"stale:{a}:1": "v"})
    owner = cluster.owner("stale:{a}:1")
    slot = owner.admin("CLUSTER", "KEYSLOT", "{a}")
    other = next(m for m in cluster.masters if m is not owner)
    owner.admin("CLUSTER", "SETSLOT", slot, "MIGRATING", other.admin("CLUSTER", "MYID"))
    try:
        with pytest.raises(UnavailableError, match="slots of the cluster are being moved"):
            await DELETE.dry_run(step(cluster.target()), params)
    finally:
        owner.admin("CLUSTER", "SETSLOT", slot, "STABLE")
    await perform(DELETE, step(cluster.target()), params)
    assert cluster.keys() == set()


async def test_slots_without_a_master_stop_everything(cluster: Site) -> None:
    grant_for(cluster, DELETE, parameters())
    cluster.put(stale(5))
    cluster.masters[0].admin("CLUSTER", "DELSLOTS", 7)
    try:
        with pytest.raises(UnavailableError, match="1 slots of the cluster have no master"):
            await DELETE.dry_run(step(cluster.target()), parameters())
    finally:
        cluster.masters[0].admin("CLUSTER", "ADDSLOTS", 7)
    assert len(cluster.keys()) == 5
