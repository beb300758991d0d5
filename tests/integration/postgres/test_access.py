"""What our role may do on real servers: what is missing, what is too much, and how many connections we take."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from hdr_responder.actions.contract import Permission
from hdr_responder.actions.postgres.configuration import SetConfig, SetConfigParameters
from hdr_responder.actions.postgres.index_creation import CreateIndex
from hdr_responder.domain.ports.postgres import Call, Need, Relation
from hdr_responder.errors import AdapterError, UnavailableError
from tests.integration.postgres.helping import Helped
from tests.integration.postgres.test_indexes import creating
from tests.services.processes import ServiceError

pytestmark = pytest.mark.service


def right(verb: str, resource: str = "") -> Permission:
    return Permission(system="postgres", scope="empire", verb=verb, resource=resource)


async def test_what_is_missing_is_told_in_its_order(helped: Helped) -> None:
    helped.grant()
    asked = [
        right("execute", "pg_catalog.pg_reload_conf()"),
        right("pg_signal_backend"),
        right("pg_nonsense"),
        right("maintain", "public.jobs"),
        right("select", "other.things"),
        right("owner", "public.gone"),
        right("alter system", "work_mem"),
        right("usage", "other"),
        right("create", "gone"),
        right("execute", "public.gone(int4)"),
        right("select", 'public."Odd; DROP TABLE jobs--"'),
    ]
    assert await helped.target().missing(asked) == (
        "execute on pg_catalog.pg_reload_conf()",
        "pg_nonsense",
        "maintain on public.jobs",
        "select on other.things",
        "owner on public.gone",
        "alter system on work_mem",
        "usage on other",
        "create on gone",
        "execute on public.gone(int4)",
        'select on public."Odd; DROP TABLE jobs--"',
    )
    assert await helped.target().missing([]) == ()
    assert await helped.target().missing([Need("pg_signal_backend"), Need("pg_nonsense")]) == ("pg_nonsense",)
    with pytest.raises(AdapterError, match="no privilege 'drop' is known"):
        await helped.target().missing([right("drop", "public.jobs")])


async def test_the_shipped_role_has_nothing_too_much(helped: Helped) -> None:
    helped.grant()
    assert await helped.target().excess() == ()
    helped.grant()
    assert await helped.target().excess() == (), "the script may be run again"


async def test_what_is_too_much_is_told(helped: Helped) -> None:
    helped.grant()
    helped.run(f"ALTER ROLE {helped.role} CREATEDB CREATEROLE REPLICATION BYPASSRLS")
    helped.run(f"GRANT pg_write_all_data, pg_execute_server_program TO {helped.role}")
    helped.run(f"GRANT INSERT ON other.things TO {helped.role}; CREATE SCHEMA AUTHORIZATION {helped.role}")
    helped.run(f"GRANT ALTER SYSTEM ON PARAMETER archive_command, work_mem TO {helped.role}")
    helped.run(f"CREATE TABLE mine (); ALTER TABLE mine OWNER TO {helped.role}")

    found = await helped.target().excess([Need("alter system", "work_mem")])

    assert found[:4] == ("bypassrls", "createdb", "createrole", "replication")
    assert {
        "is a member of pg_execute_server_program",
        "is a member of pg_write_all_data",
        f"owns the schema {helped.role}",
        "owns public.mine",
        "may write to other.things",
        "may alter the parameter archive_command",
    } <= set(found)
    assert "may alter the parameter work_mem" not in found


async def test_a_superuser_is_too_much_whatever_else_it_is(helped: Helped) -> None:
    helped.grant()
    helped.run(f"ALTER ROLE {helped.role} SUPERUSER")
    assert await helped.target().excess() == ("superuser",)
    helped.run(f"ALTER ROLE {helped.role} NOSUPERUSER")
    helped.run(f"CREATE ROLE boss_{helped.database} SUPERUSER; GRANT boss_{helped.database} TO {helped.role}")
    assert "superuser" in await helped.target().excess(), "it can become one"
    helped.run(f"DROP ROLE boss_{helped.database}")


async def test_what_is_needed_is_not_too_much(helped: Helped) -> None:
    helped.grant(owner=helped.owner, parameters="work_mem")
    needed = [
        *CreateIndex().permissions(creating()),
        *SetConfig().permissions(SetConfigParameters(target="empire", parameter="work_mem", value="64MB")),
    ]
    assert await helped.target().missing(needed) == ()
    found = await helped.target().excess(needed)
    assert "owns public.jobs" not in found
    assert "owns other.things" in found, "the owner's other tables come with it"
    assert not [text for text in found if "work_mem" in text]


async def test_the_script_says_what_a_version_cannot_grant(helped: Helped) -> None:
    if helped.version < 17:
        with pytest.raises(ServiceError, match="no owner is given"):
            helped.grant(maintenance="on")
    else:
        helped.grant(maintenance="on")
        assert await helped.target().missing([right("maintain", "public.jobs")]) == ()
        assert await helped.target().missing([right("maintain", "other.things")]) == ("maintain on other.things",)
        assert await helped.target().excess() == ()
    helped.grant(reserved="on", measure="on", schema="other")
    assert await helped.target().excess() == ()


async def test_connections_to_a_target_are_bounded(helped: Helped) -> None:
    helped.grant()
    target = helped.target(connections=2)
    most = 0

    async def count() -> None:
        nonlocal most
        async with helped.session(application="observer") as observer:
            while not done.done():
                ours = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{helped.role}'"
                most = max(most, await observer.fetchval(ours))

    done = asyncio.gather(*(target.connections() for _ in range(12)))
    await asyncio.gather(done, count())

    assert 1 <= most <= 2


async def test_waiting_for_a_connection_is_bounded(helped: Helped) -> None:
    helped.grant_maintenance()
    target = helped.target(timeout=1.0)
    call = Call(session="hdr-responder/long", within=timedelta(seconds=30), lock_timeout=timedelta(seconds=30))
    jobs = Relation(schema_name="public", name="jobs")
    async with helped.locked("LOCK TABLE jobs IN SHARE UPDATE EXCLUSIVE MODE"):
        work = asyncio.create_task(target.analyze(jobs, call))
        await helped.waits("hdr-responder/long")
        with pytest.raises(UnavailableError, match="as many calls as may run at a time run already"):
            await target.analyze(jobs, call)
        assert (await target.ping()).primary, "a long command keeps no short call from its connection"
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    await target.analyze(jobs, call)
