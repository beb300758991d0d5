"""Fixtures that give tests real services: started when first asked for, one of each for every test process.

A factory fixture starts services of the test's own and ends them with the test.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.services.alertmanager import Alertmanager, run_alertmanager, run_alertmanager_pair
from tests.services.kubernetes import ControlPlane, run_control_plane
from tests.services.postgres import PostgresServer, run_postgres
from tests.services.prometheus import PrometheusServer, run_prometheus
from tests.services.redis import RedisServer, run_redis

AlertmanagerFactory = Callable[[str], Alertmanager]
AlertmanagerPairFactory = Callable[..., tuple[Alertmanager, Alertmanager]]
PrometheusFactory = Callable[..., PrometheusServer]

_SERVICE_FIXTURES = {
    "postgres_server",
    "redis_server",
    "alertmanager_factory",
    "alertmanager_pair_factory",
    "prometheus_factory",
    "control_plane",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need services."""
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        if names & _SERVICE_FIXTURES:
            item.add_marker("service")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Put logging back as it was: commands that a test runs in this process set it up for themselves."""
    root = logging.getLogger()
    level, handlers = root.level, [*root.handlers]
    yield
    root.setLevel(level)
    for handler in [h for h in root.handlers if type(h) is logging.StreamHandler and h not in handlers]:
        root.removeHandler(handler)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """PostgreSQL, shared by the tests of this process; a test may stop, freeze or crash it."""
    with run_postgres() as server:
        yield server


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Address of an empty database of the test's own."""
    with postgres_server.fresh_database() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def _shared_redis() -> Iterator[RedisServer]:
    with run_redis() as server:
        yield server


@pytest.fixture
def redis_server(_shared_redis: RedisServer) -> RedisServer:
    """Redis, running and empty; shared by the tests of this process, and a test may stop or freeze it."""
    _shared_redis.ensure_running()
    _shared_redis.flush()
    return _shared_redis


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Address of the empty Redis."""
    return redis_server.url


@pytest.fixture
def alertmanager_factory() -> Iterator[AlertmanagerFactory]:
    """``factory(config)`` starts one Alertmanager for the test."""
    with contextlib.ExitStack() as stack:
        yield lambda config: stack.enter_context(run_alertmanager(config))


@pytest.fixture
def alertmanager_pair_factory() -> Iterator[AlertmanagerPairFactory]:
    """``factory(config, duplicates=True)`` starts two Alertmanagers that know each other."""
    with contextlib.ExitStack() as stack:

        def start(config: str, *, duplicates: bool = True) -> tuple[Alertmanager, Alertmanager]:
            return stack.enter_context(run_alertmanager_pair(config, duplicates=duplicates))

        yield start


@pytest.fixture
def prometheus_factory() -> Iterator[PrometheusFactory]:
    """``factory(config, files=None)`` starts one Prometheus for the test."""
    with contextlib.ExitStack() as stack:

        def start(config: str, files: Mapping[str, str] | None = None) -> PrometheusServer:
            return stack.enter_context(run_prometheus(config, files))

        yield start


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A Kubernetes cluster with one node, shared by the tests of this process; each takes a namespace of its own."""
    with run_control_plane() as running:
        yield running


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """Name of an empty namespace of the test's own."""
    with control_plane.fresh_namespace() as name:
        yield name
