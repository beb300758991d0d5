"""The demo: the main job for real, on this machine alone.

An embedded PostgreSQL holds the store and, beside it, the database ``hdr_empire`` in which real sessions block each
other. The service is started on a free port and gets the alert over HTTP. The demo is a success only if the effect
was seen in that database: the blocking session is gone and the sessions that waited have finished.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path

from rich.console import Console
from rich.text import Text

from hdr_responder.adapters.rehearsal import DATABASE, BlockedDatabase, blocked_database, post_delivery
from hdr_responder.adapters.store.embedded import EmbeddedServer
from hdr_responder.app.service import Service, running_service
from hdr_responder.domain.incidents import IncidentStatus
from hdr_responder.domain.ports.records import IncidentRecord, PageRequest
from hdr_responder.domain.runs import Verification
from hdr_responder.domain.timeline import EntryKind, TimelineEntry
from hdr_responder.errors import HdrError, NotFoundError
from hdr_responder.records.postmortem import render
from hdr_responder.settings import load_settings
from hdr_responder.telemetry import configure_logs

BLOCKED_FOR = timedelta(seconds=6)
"""Longer than the playbook's ``blocking_for``, as it would be when the alert fires."""
PATIENCE = timedelta(seconds=45)
LOOK_SECONDS = 0.05
INCIDENT = 1


@dataclass(slots=True)
class Stage:
    """Prints what happens, with the seconds since the start."""

    console: Console
    began: float = field(default_factory=time.monotonic)

    def tell(self, text: str, style: str = "") -> None:
        """Print one line."""
        line = Text(f"[{time.monotonic() - self.began:5.1f}s] ", style="dim")
        line.append(text, style=style)
        self.console.print(line, soft_wrap=True)

    def message(self, text: str) -> None:
        """Print what a person would get."""
        for line in text.rstrip("\n").splitlines():
            self.console.print(Text("    | ", style="dim") + Text.from_ansi(line), soft_wrap=True)


async def run_demo(output: Path = Path("var/demo"), *, console: Console | None = None) -> int:
    """Run the demo, write the post-mortem below ``output`` and return the exit code."""
    stage = Stage(console or Console())
    configure_logs("console", "error")
    try:
        async with asyncio.timeout(PATIENCE.total_seconds() * 2):
            return await _play(stage, output)
    except (HdrError, TimeoutError) as error:
        stage.tell(f"failed: {error or 'it took too long'}", "bold red")
        return 1


async def _play(stage: Stage, output: Path) -> int:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(_folder())
        stage.tell("starting an embedded PostgreSQL: the responder's store, and the database to be helped")
        server = await EmbeddedServer.start(folder)
        stack.push_async_callback(server.stop)
        blocked = await stack.enter_async_context(blocked_database(server.url))
        since = time.monotonic()
        stage.tell(
            f"in {DATABASE}: session {blocked.root_pid} updated a row and sits idle in its transaction; "
            f"{len(blocked.waiters)} sessions wait behind it",
            "yellow",
        )
        token = secrets.token_urlsafe(24)
        service = await stack.enter_async_context(_service(server.url, blocked.url, token, folder, stage))
        stage.tell(f"the service listens on port {service.port}; automation may act: auto (development)")
        stage.tell(f"waiting until they have been blocked for {BLOCKED_FOR.total_seconds():g} s, as an alert would")
        await asyncio.sleep(max(0.0, since + BLOCKED_FOR.total_seconds() - time.monotonic()))
        return await _alert(stage, service, blocked, token, output)


@asynccontextmanager
async def _service(store_url: str, target_url: str, token: str, folder: Path, stage: Stage) -> AsyncIterator[Service]:
    environ = {
        "HDR_ENVIRONMENT": "development",
        "HDR_DATABASE__URL": store_url,
        "HDR_DATABASE__DATA_DIR": str(folder),
        "HDR_HTTP__HOST": "127.0.0.1",
        "HDR_HTTP__PORT": "0",
        "HDR_ALERTMANAGER__TOKENS": json.dumps([token]),
        f"HDR_TARGETS__POSTGRES__{DATABASE.upper()}__URL": target_url,
    }
    async with running_service(load_settings(environ=environ), write=stage.message) as service:
        yield service


async def _alert(stage: Stage, service: Service, blocked: BlockedDatabase, token: str, output: Path) -> int:
    url = f"http://127.0.0.1:{service.port}/webhooks/alertmanager"
    began = datetime.now(UTC)
    stage.tell("Alertmanager reports HdrPostgresBlocked", "bold")
    status = await post_delivery(url, token, _delivery("firing", began))
    stage.tell(f"delivery committed and answered {status} after {_ms(began)}")
    follower = asyncio.create_task(_follow(stage, service))
    try:
        record = await _until(service, _decided)
        helped = await _effect(stage, blocked)
        if helped:
            await post_delivery(url, token, _delivery("resolved", began))
            record = await _until(service, lambda r: r.incident.status is IncidentStatus.RESOLVED)
        await asyncio.sleep(0.5)
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)
    return await _conclude(stage, service, record, output, helped=helped)


@contextmanager
def _folder() -> Iterator[Path]:
    """Give a folder that the database server's own user can enter."""
    with tempfile.TemporaryDirectory(prefix="hdr-demo-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _decided(record: IncidentRecord) -> bool:
    return bool(record.runs) and all(run.status.is_ended for run, _ in record.runs)


async def _effect(stage: Stage, blocked: BlockedDatabase) -> bool:
    """Look into the target database itself."""
    gone, waiting, finished = await blocked.root_is_gone(), await blocked.blocked(), await blocked.finished()
    seen = gone and waiting == 0 and finished == len(blocked.waiters)
    stage.tell(
        f"seen in {DATABASE}: session {blocked.root_pid} is {'gone' if gone else 'still there'}, {waiting} sessions "
        f"wait, {finished} of {len(blocked.waiters)} have finished their work",
        "bold green" if seen else "bold red",
    )
    return seen


async def _conclude(stage: Stage, service: Service, record: IncidentRecord, output: Path, *, helped: bool) -> int:
    timeline = (await service.records.timeline(INCIDENT, PageRequest(limit=500))).items
    path = output / f"postmortem-{record.incident.ref}-{datetime.now(UTC):%Y%m%dT%H%M%S}.md"
    _write(path, render(record, timeline))
    for name, took in _timings(timeline):
        stage.tell(f"{name}: {took}")
    verified = any(run.verification is Verification.VERIFIED for run, _ in record.runs)
    done = helped and verified and record.incident.status is IncidentStatus.RESOLVED
    stage.tell(f"post-mortem: {path}")
    stage.tell(
        "the remediation was verified" if done else "the remediation was NOT verified",
        "bold green" if done else "bold red",
    )
    return 0 if done else 1


def _timings(timeline: tuple[TimelineEntry, ...]) -> list[tuple[str, str]]:
    first: dict[EntryKind, datetime] = {}
    for entry in timeline:
        first.setdefault(EntryKind(entry.kind), entry.at)
    opened = first.get(EntryKind.OPENED)
    marks = (
        ("incident opened -> first change begun", EntryKind.STEP_STARTED),
        ("incident opened -> verified", EntryKind.MITIGATED),
        ("incident opened -> resolved", EntryKind.RESOLVED),
    )
    return [
        (name, f"{(first[kind] - opened).total_seconds() * 1000:.0f} ms")
        for name, kind in marks
        if opened and kind in first
    ]


async def _follow(stage: Stage, service: Service) -> None:
    """Print the incident's timeline as it grows."""
    cursor: str | None = None
    seen = 0
    while True:
        page = await service.records.timeline(INCIDENT, PageRequest(limit=500, cursor=cursor))
        for entry in page.items[seen:]:
            stage.tell(f"INC-{INCIDENT} {entry.kind}: {entry.summary}", "cyan")
        seen = len(page.items)
        await asyncio.sleep(LOOK_SECONDS)


async def _until(service: Service, done: Callable[[IncidentRecord], bool]) -> IncidentRecord:
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while True:
            try:
                record = await service.records.incident(INCIDENT)
            except NotFoundError:
                record = None
            if record is not None and done(record):
                return record
            await asyncio.sleep(LOOK_SECONDS)


def _delivery(status: str, began: datetime) -> bytes:
    """Return what a real Alertmanager once sent for a blocked database, with its times moved to now."""
    name = next(f for f in resources.files(__package__).joinpath("recorded").iterdir() if status in f.name)
    body = json.loads(name.read_text(encoding="utf-8"))
    for alert in body["alerts"]:
        alert["startsAt"] = began.isoformat()
        if status == "resolved":
            alert["endsAt"] = datetime.now(UTC).isoformat()
    return json.dumps(body).encode()


def _ms(began: datetime) -> str:
    return f"{(datetime.now(UTC) - began).total_seconds() * 1000:.0f} ms"
