"""The questions of the doctor: every connection that the settings name, and the rights that the playbooks need."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from hdr_responder.actions.contract import Permission
from hdr_responder.adapters.alertmanager import Alertmanager
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.adapters.postgres_target import PostgresTarget
from hdr_responder.adapters.prometheus import Prometheus
from hdr_responder.adapters.redis_check import check_redis
from hdr_responder.adapters.store.pool import open_pool
from hdr_responder.adapters.store.records import PostgresRecords
from hdr_responder.app.database import joined_database
from hdr_responder.app.documents import load_documents
from hdr_responder.app.people import PeopleLanes, build_people
from hdr_responder.app.systems import Outside, build_outside
from hdr_responder.cli.findings import Finding, absent, ask, failed
from hdr_responder.cli.lane_test import send_tests
from hdr_responder.documents.catalogue import Documents
from hdr_responder.domain.clock import SystemClock
from hdr_responder.domain.notifications import Lane
from hdr_responder.domain.ports.store import Transaction
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import AdapterError, ConfigError, ForbiddenError, UnavailableError
from hdr_responder.settings import Settings
from hdr_responder.settings.structure import variable

_SHOWN = 8


class NoStore:
    """Stands where no database is joined; nothing that the doctor asks reads it."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Raise UnavailableError."""
        raise UnavailableError("no database was joined")


async def examine(settings: Settings, *, test_for: timedelta | None) -> list[Finding]:
    """Ask everything at once and return the answers in a fixed order.

    ``test_for`` is how long test messages are waited for, None to send none.
    """
    outside = build_outside(settings, store=NoStore(), people=None, clock=SystemClock())
    people = build_people(settings)
    try:
        documents = _documents(settings)
        loaded = documents if isinstance(documents, Documents) else None
        findings = await asyncio.gather(*_questions(settings, outside, people, loaded))
        stated = [*_stated(settings, people), *([] if isinstance(documents, Documents) else [documents])]
        tests = await send_tests(settings, people, test_for) if test_for else []
        return [*findings, *stated, *tests]
    finally:
        await outside.close()
        await people.close()


def _questions(
    settings: Settings, outside: Outside, people: PeopleLanes, documents: Documents | None
) -> Iterator[Awaitable[Finding]]:
    yield ask("database", _database(settings), _look("database", "url") if settings.database.url else "")
    if settings.redis.url is not None:
        yield ask("redis", check_redis(settings.redis.url.get_secret_value()), _look("redis", "url"))
    for source, alertmanager in outside.alertmanagers.items():
        peers = len(settings.alertmanager.urls(source))
        yield ask(f"alertmanager {source}".rstrip(), _alertmanager(alertmanager, peers), _look("alertmanager", "url"))
    if outside.prometheus is not None:
        yield ask("prometheus", _prometheus(outside.prometheus), _look("prometheus", "url"))
    for name, cluster in outside.clusters.items():
        advice = f"{_look('kubernetes', 'kubeconfig')} and targets.kubernetes.{name}"
        yield ask(f"cluster {name}", _cluster(cluster, documents), advice)
    for name, target in settings.targets.postgres.items():
        if target.url is not None:
            address = _look("targets", "postgres", name, "url")
            yield ask(f"postgres {name}", _target(outside.databases[name], documents), address)
    for lane, sender in people.senders.items():
        yield ask(f"lane {lane}", sender.check())


def _stated(settings: Settings, people: PeopleLanes) -> Iterator[Finding]:
    """Yield what the settings alone tell."""
    if settings.redis.url is None:
        yield absent("redis", "each process keeps its own rate limits; HDR_REDIS__URL shares them")
    if not settings.alertmanager.url:
        yield absent("alertmanager", "whether an alert still fires cannot be asked; set HDR_ALERTMANAGER__URL")
    if settings.prometheus.url is None:
        yield absent("prometheus", "playbooks cannot query metrics; set HDR_PROMETHEUS__URL")
    if not settings.targets.kubernetes:
        yield absent("clusters", "nothing in Kubernetes can be acted on; name clusters under targets.kubernetes")
    for name, target in settings.targets.postgres.items():
        if target.url is None:
            address = variable(("targets", "postgres", name, "url"))
            yield absent(f"postgres {name}", f"it cannot be acted on; set {address}")
    if Lane.SLACK not in people.senders:
        yield absent("lane slack", "set HDR_SLACK__BOT_TOKEN and HDR_SLACK__CHANNEL")
    if Lane.PAGERDUTY not in people.senders:
        yield absent("lane pagerduty", "pages go to the chat; set HDR_PAGERDUTY__ROUTING_KEY")
    try:
        settings.require_serving()
    except ConfigError as error:
        yield failed("serving", error)


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


async def _cluster(cluster: KubernetesAdapter, documents: Documents | None) -> str:
    identity = await cluster.ping()
    who = f"Kubernetes {identity.version}" + (f" as {identity.user}" if identity.user else "")
    needed = sorted(needed_rights(documents, cluster.name), key=str) if documents else []
    answers = await asyncio.gather(*(cluster.may(right) for right in needed))
    missing = [str(right) for right, allowed in zip(needed, answers, strict=True) if not allowed]
    if missing:
        raise ForbiddenError(f"{who}: the playbooks need rights that it lacks; grant them: {_some(missing)}")
    return f"{who}, with all {len(needed)} rights that the playbooks need"


async def _target(server: PostgresTarget, documents: Documents | None) -> str:
    info = await server.ping()
    roles = sorted(needed_roles(documents, server.name)) if documents else []
    missing = await server.missing_roles(roles)
    if missing:
        raise ForbiddenError(f"the playbooks need roles that ours lacks: GRANT {', '.join(missing)} TO it")
    standing = "" if info.primary else "; a standby: sessions are ended on the primary only"
    held = f", with the roles {', '.join(roles)}" if roles else ""
    return f"PostgreSQL {info.version}{held}{standing}"


def needed_rights(documents: Documents, cluster: str) -> frozenset[Permission]:
    """Return the rights that the playbooks' steps need on every workload of the catalogue in a cluster."""
    workloads = [w for s in documents.services.services if (w := s.workload_in(cluster)) is not None]
    return frozenset(p for w in workloads for p in _permissions(documents, "kubernetes", workload=w))


def needed_roles(documents: Documents, target: str) -> frozenset[str]:
    """Return the database roles that the playbooks' steps need on a target."""
    return frozenset(p.verb for p in _permissions(documents, "postgres", target=target))


def _permissions(documents: Documents, system: str, **known: Workload | str) -> Iterator[Permission]:
    """Yield what the actions need, judged by the one parameter that says what they act on."""
    actions = {step.action.name: step.action for playbook in documents.playbooks for step in playbook.actions}
    for action in actions.values():
        if known.keys() <= action.parameters.model_fields.keys():
            params = action.parameters.model_construct(**known)
            yield from (p for p in action.permissions(params) if p.system == system)


def _look(*setting: str) -> str:
    return f"check {variable(setting)}"


def _some(items: Sequence[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return "; ".join(items[:_SHOWN]) + more
