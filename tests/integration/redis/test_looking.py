"""What is read of a real Redis, alone and as a cluster."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from hdr_responder.actions.redis.keys import KeysByPattern, KeysByPatternParameters
from hdr_responder.actions.redis.looking import (
    Evictions,
    HitRate,
    IntervalParameters,
    Memory,
    Ping,
    TargetParameters,
)
from hdr_responder.actions.redis.slow_log import Slowlog, SlowlogParameters
from hdr_responder.errors import NotFoundError, TemporaryError
from tests.integration.redis.caches import TARGET, KeptEvidence, Site, grant_for, reached, step
from tests.services.redis import run_redis

pytestmark = pytest.mark.service

HERE = TargetParameters(target=TARGET)
SECOND = IntervalParameters(target=TARGET, over=timedelta(seconds=1))


def between(happens: Callable[[], object]) -> Callable[[float], Awaitable[None]]:
    """Instead of waiting, something happens between the two looks."""

    async def pause(seconds: float) -> None:
        assert seconds == 1
        happens()

    return pause


async def test_ping(site: Site) -> None:
    grant_for(site, Ping(), HERE)

    found = await Ping().execute(step(site.target()), HERE)

    assert (found.role, found.primary, found.covered) == ("master", True, True)
    assert (found.cluster, found.masters) == (site.cluster is not None, len(site.masters))
    assert found.version.count(".") == 2
    assert 0 < found.latency_seconds < 5


async def test_a_replica_says_so(single: Site) -> None:
    grant_for(single, Ping(), HERE)
    with run_redis("--replicaof", f"127.0.0.1 {single.masters[0].port}") as replica:
        replica.admin("ACL", "SETUSER", "responder", "on", ">hunter2", "+ping", "+info", "+cluster|slots")

        found = await Ping().execute(step(reached(replica.port)), HERE)

    assert (found.role, found.primary) == ("replica", False)


async def test_memory(site: Site) -> None:
    grant_for(site, Memory(), HERE)
    for node in site.masters:
        node.admin("CONFIG", "SET", "maxmemory", "100mb")
    site.masters[0].admin("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")

    found = await Memory().execute(step(site.target()), HERE)

    assert found.max_bytes == len(site.masters) * 100 * 1024 * 1024
    assert 0 < found.used_bytes <= found.peak_bytes
    assert found.used_ratio is not None
    assert found.used_ratio == max(n.used_bytes / n.max_bytes for n in found.nodes)
    assert found.policy == ("allkeys-lru,noeviction" if site.cluster else "allkeys-lru")
    assert len(found.nodes) == len(site.masters)
    assert "127.0.0.1" not in found.model_dump_json()


async def test_without_a_limit_there_is_no_ratio(site: Site) -> None:
    grant_for(site, Memory(), HERE)

    found = await Memory().execute(step(site.target()), HERE)

    assert (found.max_bytes, found.used_ratio) == (0, None)
    assert "without a limit" in found.summary


async def test_the_hit_rate_is_of_the_interval(site: Site) -> None:
    grant_for(site, HitRate(), SECOND)
    site.put({"a": "1"})
    for _ in range(8):
        site.owner("nothing").admin("GET", "nothing")

    def looked_up() -> None:
        for key in ("a", "a", "a", "gone"):
            site.owner(key).admin("GET", key)

    found = await HitRate(between(looked_up)).execute(step(site.target()), SECOND)

    assert (found.hits, found.misses, found.rate) == (3, 1, 0.75)
    assert found.rate_since_start == pytest.approx(3 / 12)
    assert found.summary == "75.0% of 4 lookups hit in 1s; 25.0% since the start"


async def test_nobody_asking_is_no_evidence(site: Site) -> None:
    grant_for(site, HitRate(), SECOND)

    found = await HitRate(between(lambda: None)).execute(step(site.target()), SECOND)

    assert (found.rate, found.rate_since_start, found.hits) == (None, None, 0)
    assert found.summary == "no key was asked for in 1s"


async def test_counters_that_go_back_are_no_evidence(site: Site) -> None:
    grant_for(site, HitRate(), SECOND)
    site.owner("gone").admin("GET", "gone")

    def reset() -> None:
        for node in site.masters:
            node.admin("CONFIG", "RESETSTAT")

    with pytest.raises(TemporaryError, match="were reset"):
        await HitRate(between(reset)).execute(step(site.target()), SECOND)


async def test_a_restart_between_the_looks_is_no_evidence() -> None:
    with run_redis() as server:

        def restart() -> None:
            server.restart()
            server.admin("ACL", "SETUSER", "responder", "on", ">hunter2", "+info", "+cluster|slots")

        server.admin("ACL", "SETUSER", "responder", "on", ">hunter2", "+info", "+cluster|slots")
        with pytest.raises(TemporaryError, match="restarted or replaced"):
            await Evictions(between(restart)).execute(step(reached(server.port)), SECOND)


async def test_evictions(single: Site) -> None:
    grant_for(single, Evictions(), SECOND)
    server = single.masters[0]
    server.admin("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    limit = int(server.admin("INFO", "memory")["used_memory"]) + 2_000_000
    server.admin("CONFIG", "SET", "maxmemory", limit)

    def filled() -> None:
        for i in range(400):
            server.admin("SET", f"key:{i}", "x" * 10_000)

    found = await Evictions(between(filled)).execute(step(single.target()), SECOND)

    assert found.evicted > 0
    assert found.per_second == found.evicted
    assert found.evicted_since_start == found.evicted
    assert found.policy == "allkeys-lru"


async def test_keys_by_pattern(site: Site) -> None:
    params = KeysByPatternParameters(target=TARGET, pattern="stale:*")
    grant_for(site, KeysByPattern(), params)
    site.put({f"{kind}:{i}": "v" for kind in ("stale", "fresh") for i in range(30)})
    evidence = KeptEvidence()

    found = await KeysByPattern().execute(step(site.target(), evidence=evidence), params)

    assert (found.count, found.complete) == (30, True)
    assert set(evidence.artifacts["keys.txt"].decode().split()) == {f"stale:{i}" for i in range(30)}
    assert len(found.keys) == 20
    assert found.summary == "30 keys match stale:*"


async def test_too_many_keys_are_cut_and_said_to_be(site: Site) -> None:
    params = KeysByPatternParameters(target=TARGET, pattern="*", max_keys=10)
    grant_for(site, KeysByPattern(), params)
    site.put({f"key:{i}": "v" for i in range(40)})

    found = await KeysByPattern().execute(step(site.target()), params)

    assert (found.count, found.complete) == (10, False)
    assert "more than 10 keys match" in found.summary


async def test_a_long_search_ends_in_time(single: Site) -> None:
    params = KeysByPatternParameters(target=TARGET, pattern="nothing:*")
    grant_for(single, KeysByPattern(), params)
    single.masters[0].admin("EVAL", "for i = 1, 20000 do redis.call('SET', 'k' .. i, 1) end", 0)

    found = await single.target().scan("nothing:*", limit=10, within=timedelta())

    assert found.keys == ()
    assert "not all keys were looked at" in found.cut
    whole = await KeysByPattern().execute(step(single.target()), params)
    assert (whole.count, whole.complete, whole.artifact) == (0, True, "")


async def test_any_bytes_may_be_a_key(site: Site) -> None:
    params = KeysByPatternParameters(target=TARGET, pattern="stale:*")
    grant_for(site, KeysByPattern(), params)
    site.put({b"stale:\x00\xff\n": "v", "stale:ü": "v", "stale:" + "x" * 500: "v"})

    found = await KeysByPattern().execute(step(site.target()), params)

    assert set(found.keys) == {r"stale:\x00\xff\x0a", "stale:ü", "stale:" + "x" * 194 + "..."}


async def test_the_slow_log_shows_no_values(site: Site) -> None:
    params = SlowlogParameters(target=TARGET, limit=50)
    grant_for(site, Slowlog(), params)
    for node in site.masters:
        node.admin("CONFIG", "SET", "slowlog-log-slower-than", "0")
    site.put({"card:1": "4111-1111"})
    owner = site.owner("secrets")
    owner.admin("HSET", "secrets", "iban", "DE00")
    owner.admin("EVAL", "return 'pin-0000'", 0)
    owner.admin("SADD", "secrets:set{secrets}", *(f"member-{i}" for i in range(50)))
    evidence = KeptEvidence()

    found = await Slowlog().execute(step(site.target(), evidence=evidence), params)

    told = evidence.artifacts["slowlog.json"].decode()
    shown = {(e["command"], tuple(e["keys"]), e["hidden"]) for e in json.loads(told)}
    assert {("set", ("card:1",), 1), ("hset", ("secrets",), 2), ("eval", (), 2)} <= shown
    assert ("sadd", ("secrets:set{secrets}",), 50) in shown
    for secret in ("4111", "iban", "DE00", "pin-0000", "member-", "127.0.0.1"):
        assert secret not in told
    assert found.entries[0].seconds == found.slowest_seconds > 0
    assert found.count >= 4


async def test_an_empty_slow_log(single: Site) -> None:
    params = SlowlogParameters(target=TARGET)
    grant_for(single, Slowlog(), params)
    single.masters[0].admin("CONFIG", "SET", "slowlog-log-slower-than", "-1")
    single.masters[0].admin("SLOWLOG", "RESET")

    found = await Slowlog().execute(step(single.target()), params)

    assert (found.count, found.artifact, found.summary) == (0, "", "0 slow commands logged")


async def test_an_unknown_target() -> None:
    with pytest.raises(NotFoundError, match=r"no targets\.redis\.other is configured \(configured: cache\)"):
        await Ping().execute(step(reached(1)), TargetParameters(target="other"))
