"""The delivery writer: answered means committed, commits are shared, and a bad or lost one harms no neighbour."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from hdr_responder.adapters.store import receiver
from hdr_responder.adapters.store.database import PostgresStore
from hdr_responder.adapters.store.pool import Pool
from hdr_responder.adapters.store.receiver import DeliveryWriter
from hdr_responder.errors import AdapterError, ConfigError, HdrError, UnavailableError
from tests.integration.store.samples import NOW
from tests.services.postgres import PostgresServer

pytestmark = pytest.mark.service

REFUSE_BAD = """
create function refuse_bad() returns trigger language plpgsql as $$
begin
    if new.body = 'bad' then raise exception 'refused'; end if;
    return new;
end $$;
create trigger refuse_bad before insert on deliveries for each row execute function refuse_bad();
"""


@pytest.fixture
async def writer(store_url: str) -> AsyncIterator[DeliveryWriter]:
    opened = DeliveryWriter(store_url)
    await opened.open()
    yield opened
    await opened.close()


async def _commits(pool: Pool) -> int:
    return len(await pool.fetch("select distinct xmin::text from deliveries"))


async def test_an_answered_delivery_is_committed_with_a_job(writer: DeliveryWriter, pool: Pool) -> None:
    await writer.commit("am", b"\x00raw\xff", NOW)
    row = await pool.fetchrow("select source, body, received_at, status from deliveries")
    assert row is not None
    assert tuple(row) == ("am", b"\x00raw\xff", NOW, "received")
    assert await pool.fetchval("select entrypoint from pgqueuer") == "intake"


async def test_concurrent_deliveries_share_commits_and_their_job(writer: DeliveryWriter, pool: Pool) -> None:
    await asyncio.gather(*(writer.commit("am", str(n).encode(), NOW) for n in range(300)))
    assert await pool.fetchval("select count(*) from deliveries") == 300
    assert await _commits(pool) <= 3
    assert await pool.fetchval("select count(*) from pgqueuer") == 1


async def test_a_job_that_was_picked_does_not_stand_for_what_comes_after_it(writer: DeliveryWriter, pool: Pool) -> None:
    """It may have read its rows before; only a job that is still queued will see this delivery."""
    await writer.commit("am", b"1", NOW)
    await pool.execute("update pgqueuer set status = 'picked'")
    await writer.commit("am", b"2", NOW)
    assert await pool.fetchval("select count(*) from pgqueuer where status = 'queued'") == 1


async def test_a_job_that_others_hold_does_not_stand_for_a_delivery(writer: DeliveryWriter, pool: Pool) -> None:
    """Whoever holds it may be picking it just now."""
    await writer.commit("am", b"1", NOW)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("select id from pgqueuer for update")
        await writer.commit("am", b"2", NOW)
    assert await pool.fetchval("select count(*) from pgqueuer") == 2


async def test_a_job_that_is_put_off_does_not_stand_for_a_delivery(writer: DeliveryWriter, pool: Pool) -> None:
    await writer.commit("am", b"1", NOW)
    await pool.execute("update pgqueuer set execute_after = clock_timestamp() + interval '1 minute'")
    await writer.commit("am", b"2", NOW)
    assert await pool.fetchval("select count(*) from pgqueuer") == 2


async def test_a_batch_is_bounded_by_bytes(writer: DeliveryWriter, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "BATCH_BYTES", 10)
    await asyncio.gather(*(writer.commit("am", b"123456", NOW) for _ in range(4)), writer.commit("am", b"x" * 50, NOW))
    assert await _commits(pool) == 5


async def test_a_delivery_that_the_database_refuses_sinks_no_neighbour(writer: DeliveryWriter, pool: Pool) -> None:
    await pool.execute(REFUSE_BAD)
    bodies = [b"bad" if n in {3, 40} else str(n).encode() for n in range(64)]
    results = await asyncio.gather(*(writer.commit("am", body, NOW) for body in bodies), return_exceptions=True)
    assert [n for n, result in enumerate(results) if result is not None] == [3, 40]
    assert isinstance(results[3], AdapterError)
    stored = await pool.fetch("select body from deliveries")
    assert {row["body"] for row in stored} == set(bodies) - {b"bad"}
    assert len(stored) == 62


async def test_too_much_waiting_is_turned_away_and_room_comes_back(store_url: str, pool: Pool) -> None:
    writer = DeliveryWriter(store_url, waiting_bytes=10)
    first, second = writer.commit("am", b"1234567", NOW), writer.commit("am", b"1234567", NOW)
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert results[0] is None
    assert isinstance(results[1], UnavailableError)
    assert results[1].retry_after == receiver.RETRY_SECONDS
    await writer.commit("am", b"1234567", NOW)
    assert await pool.fetchval("select count(*) from deliveries") == 2
    await writer.close()
    with pytest.raises(UnavailableError):
        await writer.commit("am", b"", NOW)


async def test_a_caller_that_leaves_does_not_disturb_the_others(writer: DeliveryWriter, pool: Pool) -> None:
    leaving = asyncio.create_task(writer.commit("am", b"leaving", NOW))
    staying = asyncio.create_task(writer.commit("am", b"staying", NOW))
    await asyncio.sleep(0)
    leaving.cancel()
    await staying
    assert await pool.fetchval("select count(*) from deliveries where body = 'staying'") == 1


async def test_what_was_answered_survives_a_crash_and_the_rest_is_turned_away(
    writer: DeliveryWriter, store_url: str, postgres_server: PostgresServer
) -> None:
    answered: list[bytes] = []
    many = asyncio.Event()
    turned_away: list[HdrError] = []

    async def send(client: int) -> None:
        for n in range(10_000):
            body = f"{client}-{n}".encode()
            try:
                await writer.commit("am", body, NOW)
            except UnavailableError as error:
                turned_away.append(error)
                return
            answered.append(body)
            if len(answered) == 200:
                many.set()

    sending = asyncio.gather(*(send(client) for client in range(20)))
    await asyncio.wait_for(many.wait(), 30)
    await asyncio.to_thread(postgres_server.crash)
    await sending
    assert len(turned_away) == 20
    assert all(error.retry_after for error in turned_away if isinstance(error, UnavailableError))
    await asyncio.to_thread(postgres_server.start)
    await writer.commit("am", b"after", NOW)
    connection = await asyncpg.connect(store_url)
    stored = {row["body"] for row in await connection.fetch("select body from deliveries")}
    await connection.close()
    assert stored.issuperset(answered)
    assert b"after" in stored


async def test_a_frozen_database_turns_everybody_away_in_bounded_time(
    writer: DeliveryWriter, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "COMMIT_SECONDS", 0.3)
    await writer.commit("am", b"before", NOW)
    postgres_server.suspend()
    try:
        async with asyncio.timeout(10):
            results = await asyncio.gather(
                *(writer.commit("am", str(n).encode(), NOW) for n in range(300)), return_exceptions=True
            )
    finally:
        postgres_server.resume()
    assert all(isinstance(result, UnavailableError) for result in results)
    await writer.commit("am", b"after", NOW)


async def test_a_rejected_body_is_kept_once_and_wakes_intake_once(
    writer: DeliveryWriter, store: PostgresStore, pool: Pool
) -> None:
    for _ in range(3):
        await writer.reject("am", b"{", NOW, error="not JSON\x00", field="")
    await writer.reject("other", b"{", NOW, error="not JSON", field="alerts")
    async with store.transaction() as tx:
        kept = await tx.deliveries.unreported_rejects(9)
    assert [(d.source, d.body, d.status, d.error) for d in kept] == [
        ("am", b"{", "rejected", "not JSON\ufffd"),
        ("other", b"{", "rejected", "not JSON"),
    ]
    assert await pool.fetchval("select count(*) from pgqueuer") == 1


async def test_closing_commits_what_waits(store_url: str, pool: Pool) -> None:
    writer = DeliveryWriter(store_url)
    sent = asyncio.create_task(writer.commit("am", b"last", NOW))
    await asyncio.sleep(0)
    await writer.close()
    await sent
    assert await pool.fetchval("select count(*) from deliveries") == 1


@pytest.mark.parametrize(
    "address", ["nonsense", "postgresql://h:notaport/db", "postgresql://postgres@127.0.0.1/x?sslmode=no"]
)
async def test_a_wrong_address_is_a_config_error_that_keeps_it_secret(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await DeliveryWriter(address).open()
    assert address not in str(caught.value)


async def test_a_missing_database_is_a_config_error(postgres_server: PostgresServer, store_url: str) -> None:
    with pytest.raises(ConfigError, match="3D000"):
        await DeliveryWriter(postgres_server.dsn("absent")).open()


async def test_an_unreachable_database_is_unavailable_without_its_address() -> None:
    with pytest.raises(UnavailableError) as caught:
        await DeliveryWriter("postgresql://user:hunter2@127.0.0.1:1/db").open()
    assert "hunter2" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
