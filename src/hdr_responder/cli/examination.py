"""The questions of the doctor: every connection that the settings name, and the rights that the playbooks need."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from hdr_responder.adapters.alertmanager import Alertmanager
from hdr_responder.adapters.prometheus import Prometheus
from hdr_responder.adapters.redis_check import check_redis
from hdr_responder.adapters.slack import SlackSender
from hdr_responder.adapters.store.pool import open_pool
from hdr_responder.adapters.store.records import PostgresRecords
from hdr_responder.app.database import joined_database
from hdr_responder.app.documents import load_documents
from hdr_responder.app.people import PeopleLanes, build_people
from hdr_responder.app.systems import Outside, build_outside
from hdr_responder.cli.findings import Finding, absent, ask, failed
from hdr_responder.cli.held_rights import RightsDesk
from hdr_responder.cli.lane_test import send_tests
from hdr_responder.documents.catalogue import Documents
from hdr_responder.domain.clock import SystemClock
from hdr_responder.domain.notifications import Lane
from hdr_responder.domain.ports.store import Transaction
from hdr_responder.domain.reach import CATALOGUE
from hdr_responder.errors import AdapterError, ConfigError, UnavailableError
from hdr_responder.settings import Settings
from hdr_responder.settings.structure import variable


class NoStore:
    """Stands where no database is joined; nothing that the doctor asks reads it."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Raise UnavailableError."""
        raise UnavailableError("no database was joined")


async def examine(settings: Settings, *, test_for: timedelta | None) -> list[Finding]:
    """Ask everything at once and return the answers in a fixed order.

    ``test_for`` is how long test messages are waited for, None to send none.
    """
    documents = _documents(settings)
    desk = RightsDesk.of(documents if isinstance(documents, Documents) else None, settings)
    outside = build_outside(settings, reach=desk.reach, store=NoStore(), people=None, clock=SystemClock())
    people = build_people(settings)
    try:
        findings = await asyncio.gather(*_questions(settings, outside, people, desk))
        stated = [*desk.stated(), *_stated(settings, people), *_targets(settings, desk)]
        wrong = [] if isinstance(documents, Documents) else [documents]
        tests = await send_tests(settings, people, test_for) if test_for else []
        return [*findings, *stated, *wrong, *tests]
    finally:
        await outside.close()
        await people.close()


def _questions(
    settings: Settings, outside: Outside, people: PeopleLanes, desk: RightsDesk
) -> Iterator[Awaitable[Finding]]:
    yield ask("database", _database(settings), _look("database", "url") if settings.database.url else "")
    if settings.redis.url is not None:
        yield ask("redis", check_redis(settings.redis.url.get_secret_value()), _look("redis", "url"))
    for source, alertmanager in outside.alertmanagers.items():
        peers = len(settings.alertmanager.urls(source))
        yield ask(f"alertmanager {source}".rstrip(), _alertmanager(alertmanager, peers), _look("alertmanager", "url"))
    if outside.prometheus is not None:
        yield ask("prometheus", _prometheus(outside.prometheus), _look("prometheus", "url"))
    yield from _asked_targets(settings, outside, desk)
    for lane, sender in people.senders.items():
        yield ask(f"lane {lane}", sender.check())
        if isinstance(sender, SlackSender):
            yield from desk.of_slack(sender, settings)


def _asked_targets(settings: Settings, outside: Outside, desk: RightsDesk) -> Iterator[Awaitable[Finding]]:
    """Yield the questions to clusters, databases and caches that may be touched."""
    for name, cluster in outside.clusters.items():
        advice = f"{_look('kubernetes', 'kubeconfig')} and targets.kubernetes.{name}"
        yield from desk.of_cluster(cluster, advice)
    for name, target in settings.targets.postgres.items():
        if target.url is not None and name in desk.reach.databases:
            yield from desk.of_database(outside.databases[name], _look("targets", "postgres", name, "url"))
    for name, cache in settings.targets.redis.items():
        if cache.url is not None and name in desk.reach.caches:
            yield from desk.of_cache(outside.caches[name], _look("targets", "redis", name, "url"))


def _stated(settings: Settings, people: PeopleLanes) -> Iterator[Finding]:
    """Yield what the settings alone tell."""
    if settings.redis.url is None:
        yield absent("redis", "each process keeps its own rate limits; HDR_REDIS__URL shares them")
    if not settings.alertmanager.url:
        yield absent("alertmanager", "whether an alert still fires cannot be asked; set HDR_ALERTMANAGER__URL")
    if settings.prometheus.url is None:
        yield absent("prometheus", "playbooks cannot query metrics; set HDR_PROMETHEUS__URL")
    if Lane.SLACK not in people.senders:
        yield absent("lane slack", "set HDR_SLACK__BOT_TOKEN and HDR_SLACK__CHANNEL")
    if Lane.PAGERDUTY not in people.senders:
        yield absent("lane pagerduty", "pages go to the chat; set HDR_PAGERDUTY__ROUTING_KEY")
    try:
        settings.require_serving()
    except ConfigError as error:
        yield failed("serving", error)


def _targets(settings: Settings, desk: RightsDesk) -> Iterator[Finding]:
    """Yield the targets that are not asked, each with the reason."""
    if not settings.targets.kubernetes:
        yield absent("clusters", "nothing in Kubernetes can be acted on; name clusters under targets.kubernetes")
    kinds = (
        ("postgres", settings.targets.postgres, desk.reach.databases),
        ("redis", settings.targets.redis, desk.reach.caches),
    )
    for kind, targets, listed in kinds:
        for name, target in targets.items():
            if target.url is None:
                yield absent(f"{kind} {name}", f"it cannot be acted on; set {variable(('targets', kind, name, 'url'))}")
            elif name not in listed:
                why = f"no service of {CATALOGUE} lists it" if desk.needs else "the documents are wrong"
                yield absent(f"{kind} {name}", f"it is not touched: {why}")


def _documents(settings: Settings) -> Documents | Finding:
    try:
        return load_documents(settings)
    except ConfigError as error:
        problems = str(error).splitlines()
        told = f"{len(problems)} problems, the first: {problems[0]} (all: hdr-responder check)"
        return failed("documents", ConfigError(told))


async def _database(settings: Settings) -> str:
    pool = await open_pool(await joined_database(settings), max_size=2)
    try:
        health = await PostgresRecords(pool).health()
    except AdapterError as error:
        raise ConfigError(f"its schema is not this version's ({error}): run hdr-responder migrate") from error
    finally:
        await pool.close()
    jobs = sum(health.queue_depth.values())
    return f"answers; {jobs} jobs wait" + ("; automation is paused" if health.paused else "")


async def _alertmanager(alertmanager: Alertmanager, peers: int) -> str:
    ready = await alertmanager.ping()
    if len(ready) < peers:
        raise UnavailableError(f"only {len(ready)} of {peers} peers are ready: {', '.join(ready)}")
    return f"{', '.join(ready)}: ready"


async def _prometheus(prometheus: Prometheus) -> str:
    await prometheus.ping()
    return "answers queries"


def _look(*setting: str) -> str:
    return f"check {variable(setting)}"
