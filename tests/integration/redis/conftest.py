"""One Redis server and one cluster of three masters with their replicas, both emptied and reset for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.redis.caches import Site
from tests.services.redis import RedisCluster, RedisServer, run_redis, run_redis_cluster

_CHANGED = {"maxmemory": "0", "maxmemory-policy": "noeviction", "timeout": "0", "slowlog-log-slower-than": "10000"}


@pytest.fixture(scope="session")
def _server() -> Iterator[RedisServer]:
    with run_redis() as started:
        yield started


@pytest.fixture(scope="session")
def _cluster() -> Iterator[RedisCluster]:
    with run_redis_cluster() as started:
        yield started


@pytest.fixture
def single(_server: RedisServer) -> Site:
    return _as_new(Site(masters=(_server,), nodes=(_server,), cluster=None))


@pytest.fixture
def cluster(_cluster: RedisCluster) -> Site:
    return _as_new(Site(masters=tuple(_cluster.masters), nodes=tuple(_cluster.nodes), cluster=_cluster))


@pytest.fixture(params=["single", "cluster"])
def site(request: pytest.FixtureRequest) -> Site:
    found: Site = request.getfixturevalue(request.param)
    return found


def _as_new(site: Site) -> Site:
    for master in site.masters:
        master.flush()
    for node in site.nodes:
        node.admin("ACL", "SETUSER", "responder", "reset")
        for setting, value in _CHANGED.items():
            node.admin("CONFIG", "SET", setting, value)
        node.admin("CONFIG", "RESETSTAT")
        node.admin("SLOWLOG", "RESET")
    return site
