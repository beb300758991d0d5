"""Each action on Redis works with exactly the rights that it declares, and names the one that is taken away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from hdr_responder.actions.contract import AnyAction, Mutation, Permission, Read, Undone
from hdr_responder.actions.redis import REDIS_ACTIONS
from hdr_responder.adapters.redis_target import RedisTarget
from hdr_responder.errors import ForbiddenError
from tests.integration.redis.caches import TARGET, Site, grant, reached, step

pytestmark = pytest.mark.service

ACTIONS = {action.name: action for action in REDIS_ACTIONS}
GIVEN: Mapping[str, Mapping[str, Any]] = {
    "redis.hit_rate": {"over": "1s"},
    "redis.evictions": {"over": "1s"},
    "redis.keys_by_pattern": {"pattern": "stale:*"},
    "redis.delete_by_pattern": {"pattern": "stale:*"},
    "redis.set_config": {"setting": "maxmemory-policy", "value": "allkeys-lru"},
}


async def no_pause(seconds: float) -> None:
    del seconds


def parameters(name: str) -> Any:
    return ACTIONS[name].parameters.model_validate({"target": TARGET, **GIVEN.get(name, {})})


async def whole(action: AnyAction, target: RedisTarget, params: Any) -> None:
    """Everything that the engine may call."""
    ctx = step(target)
    if isinstance(action, Read):
        reading = type(action)(no_pause) if "over" in type(params).model_fields else action  # type: ignore[call-arg]
        await reading.execute(ctx, params)
        return
    assert isinstance(action, Mutation)
    await action.dry_run(ctx, params)
    state = await action.capture(ctx, params)
    await action.execute(ctx, params, state)
    await action.observe(ctx, params, state)
    assert await action.undo(ctx, params, state) is not Undone.DRIFTED


@pytest.mark.parametrize("name", ACTIONS)
async def test_the_declared_rights_are_enough_and_each_is_needed(site: Site, name: str) -> None:
    action, params = ACTIONS[name], parameters(name)
    site.put({"stale:1": "x", "fresh:1": "y"})
    declared = action.permissions(params)
    assert declared
    for right in declared:
        grant(site.nodes, declared, but=right)
        with pytest.raises(ForbiddenError, match=f"redis target cache.*{right.verb}".replace("|", r"\|")):
            await whole(action, site.target(), params)
        assert len(site.keys()) == 2, "nothing was deleted without the right"

    grant(site.nodes, declared)
    await whole(action, site.target(), params)


async def test_a_pattern_of_keys_is_a_right_of_its_own(site: Site) -> None:
    action, params = ACTIONS["redis.delete_by_pattern"], parameters("redis.delete_by_pattern")
    grant(site.nodes, action.permissions(params))
    other = action.parameters.model_validate({"target": TARGET, "pattern": "fresh:*"})
    assert isinstance(action, Mutation)

    with pytest.raises(ForbiddenError, match="unlink on these keys"):
        await action.dry_run(step(site.target()), other)


async def test_a_wrong_password_is_no_missing_right(site: Site) -> None:
    grant(site.nodes, [])
    target = RedisTarget(TARGET, f"redis://responder:wrong@127.0.0.1:{site.masters[0].port}")

    with pytest.raises(ForbiddenError, match="refuses our user or password") as raised:
        await target.ping()
    assert "wrong" not in str(raised.value)


async def test_no_user_at_all_is_told(single: Site) -> None:
    single.masters[0].admin("ACL", "SETUSER", "default", "resetpass", ">boss")
    try:
        with pytest.raises(ForbiddenError, match="refuses our user"):
            await RedisTarget(TARGET, single.masters[0].url).ping()
    finally:
        admin = f"redis://:boss@127.0.0.1:{single.masters[0].port}"
        await _with_client(admin, lambda client: client.execute_command("ACL", "SETUSER", "default", "nopass"))


async def _with_client(url: str, use: Callable[[Any], Awaitable[object]]) -> None:
    from redis.asyncio import Redis

    async with Redis.from_url(url) as client:
        await use(client)


async def test_what_is_missing_is_found_without_changing_anything(site: Site) -> None:
    needed = [p for name, action in ACTIONS.items() for p in action.permissions(parameters(name))]
    site.put({"stale:1": "x"})
    before = site.config("maxmemory-policy")
    grant(site.nodes, needed)
    assert await site.target().missing(needed) == ()

    for right in {p for p in needed if p.verb != "cluster|slots"}:
        grant(site.nodes, needed, but=right)
        assert await site.target().missing(needed) == (f"+{right.verb} {right.resource}".rstrip(),)
    assert site.keys() == {b"stale:1"}
    assert site.config("maxmemory-policy") == before


async def test_a_right_that_one_node_alone_lacks_is_missing(cluster: Site) -> None:
    needed = ACTIONS["redis.memory"].permissions(parameters("redis.memory"))
    grant(cluster.nodes, needed)
    grant(cluster.masters[1:2], needed[:1])

    assert await cluster.target().missing(needed) == ("+info",)


async def test_a_right_that_cannot_be_tried_is_said_to_be_so(single: Site) -> None:
    strange = [
        Permission(system="redis", scope=TARGET, verb="flushall"),
        Permission(system="redis", scope=TARGET, verb="unlink", resource="~one-key"),
    ]
    single.put({"one-key": "x"})
    grant(single.nodes, [Permission(system="redis", scope=TARGET, verb="cluster|slots"), *strange])

    told = await single.target().missing(strange)

    assert told == ("+flushall (cannot be tried)", "+unlink ~one-key (cannot be tried)")
    assert single.keys() == {b"one-key"}


async def test_too_much_is_found(site: Site) -> None:
    needed = ACTIONS["redis.delete_by_pattern"].permissions(parameters("redis.delete_by_pattern"))
    grant(site.nodes, needed)
    assert await site.target().excess(needed) == ()
    assert await site.target().excess() == ()

    for node in site.nodes:
        node.admin("ACL", "SETUSER", "responder", "+dbsize", "~*")
    assert await site.target().excess(needed) == ("+dbsize", "~* (every key)")


async def test_too_much_on_one_node_alone_is_found(cluster: Site) -> None:
    needed = ACTIONS["redis.memory"].permissions(parameters("redis.memory"))
    grant(cluster.nodes, needed)
    cluster.masters[2].admin("ACL", "SETUSER", "responder", "+time")

    assert await cluster.target().excess(needed) == ("+time",)


async def test_too_much_is_read_where_we_may_read_it(single: Site) -> None:
    needed = ACTIONS["redis.delete_by_pattern"].permissions(parameters("redis.delete_by_pattern"))
    grant(single.nodes, needed)
    single.masters[0].admin("ACL", "SETUSER", "responder", "+acl|whoami", "+acl|getuser", "+ping", "+@read", "~other:*")

    found = await single.target().excess(needed)

    assert found[0].startswith("+acl|getuser")
    assert {"+ping", "+@read", "~other:*"} <= set(found)
    assert not [told for told in found if "channel" in told or "selector" in told]
    single.masters[0].admin("ACL", "SETUSER", "responder", "allchannels", "(+get ~x)")
    assert {"&* (every channel)", "further selectors (not judged)"} <= set(await single.target().excess())
    assert not {"+unlink", "~stale:*", "+scan"} & set(found)
    assert "+@read" in await single.target().excess()


async def test_everything_is_too_much(single: Site) -> None:
    single.masters[0].admin("ACL", "SETUSER", "responder", "on", "nopass", "+@all", "~*")

    found = await single.target().excess()

    assert {"+@all", "~* (every key)", "nopass (anybody may log in)"} <= set(found)
    by_default = await RedisTarget(TARGET, single.masters[0].url).excess()
    assert "user default" in by_default


def test_the_target_shows_no_secret() -> None:
    assert repr(reached(1)) == "RedisTarget('cache')"
