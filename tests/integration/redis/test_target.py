"""How a target is reached, and how each way of not reaching it ends."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest
from redis._parsers.base import BaseParser
from redis.exceptions import RedisError

from hdr_responder.actions.redis.health import Reachable, ReachableParameters
from hdr_responder.adapters.redis_target import RedisTarget
from hdr_responder.adapters.redis_target.errors import NoAnswerError, translate
from hdr_responder.app.systems import ConfiguredCaches
from hdr_responder.errors import (
    ConfigError,
    ConflictError,
    ForbiddenError,
    HdrError,
    PermanentError,
    TemporaryError,
    UnavailableError,
)
from hdr_responder.settings import Settings
from tests.integration.redis.caches import TARGET, Site, reached, step, value_of
from tests.services.ports import free_port
from tests.services.redis import RedisServer, run_redis
from tests.services.tools import require_program

pytestmark = pytest.mark.service

RIGHTS = ("on", ">hunter2", "+ping", "+info", "+cluster|slots")
HERE = ReachableParameters(target=TARGET)


def allow(site: Site) -> None:
    for node in site.nodes:
        node.admin("ACL", "SETUSER", "responder", *RIGHTS)


async def test_a_node_of_a_cluster_is_not_taken_for_all_of_it(cluster: Site) -> None:
    allow(cluster)
    with pytest.raises(ConfigError, match=r"targets\.redis\.cache is a node of a cluster: set cluster: true"):
        await reached(cluster.masters[0].port).nodes()


async def test_a_single_server_is_no_cluster(single: Site) -> None:
    allow(single)
    with pytest.raises(ConfigError, match=r"targets\.redis\.cache is no cluster: set cluster: false"):
        await reached(single.masters[0].port, cluster=True).nodes()


async def test_any_node_leads_to_the_cluster(cluster: Site) -> None:
    allow(cluster)
    for node in cluster.nodes:
        assert len(await reached(node.port, cluster=True).nodes()) == 3


@pytest.mark.parametrize("url", ["redis://", "http://x", "redis://host:port", "redis://h?db=x", "redis://h?nonsense=1"])
def test_an_address_that_is_none(url: str) -> None:
    if url == "redis://":
        assert RedisTarget(TARGET, url).name == TARGET
        return
    with pytest.raises(ConfigError, match=r"targets\.redis\.cache: the address is not a valid Redis address"):
        RedisTarget(TARGET, url)


async def test_targets_are_found_by_their_names(cluster: Site) -> None:
    allow(cluster)
    address = f"redis://responder:hunter2@127.0.0.1:{cluster.masters[0].port}"
    given = {"targets": {"redis": {"main": {"url": address, "cluster": True}, "bare": {}}}}
    caches = ConfiguredCaches(Settings.model_validate(given))

    assert sorted(caches) == ["bare", "main"]
    assert len(caches) == 2
    assert "other" not in caches
    assert (await caches["main"].ping()).cluster
    with pytest.raises(ConfigError, match=r"targets\.redis\.bare has no url"):
        caches["bare"]


async def test_a_host_that_does_not_exist() -> None:
    with pytest.raises(UnavailableError, match="cannot be resolved") as raised:
        await RedisTarget(TARGET, "redis://boss:hunter2@nowhere.invalid").ping()
    assert "hunter2" not in str(raised.value)
    assert "nowhere" not in str(raised.value)


async def test_a_server_that_is_full_of_clients(single: Site) -> None:
    allow(single)
    with run_redis("--maxclients", "1") as server:
        server.admin("ACL", "SETUSER", "responder", *RIGHTS)
        with socket.create_connection(("127.0.0.1", server.port)), pytest.raises(UnavailableError):
            await reached(server.port).ping()


async def test_a_server_that_loads_its_data() -> None:
    with run_redis("--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024") as server:
        server.admin("EVAL", "for i = 1, 5000 do redis.call('SET', 'k' .. i, string.rep('x', 100)) end", 0)
        server.admin("SAVE")
        server.process.kill()
        server.process.start()
        server.process.wait_ready(lambda: _loads(server))

        target = RedisTarget(TARGET, server.url)
        with pytest.raises(UnavailableError, match="still loading its data"):
            await target.ping()
        verdict = await Reachable().evaluate(step(target), HERE)
        assert verdict.holds is False
        server.process.kill()


@pytest.mark.parametrize("verify", [True, False])
async def test_tls(tmp_path: Path, verify: bool) -> None:
    certificate, key = _certificate(tmp_path)
    tls = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no")
    with run_redis("--tls-port", str(free_port()), *tls, "--tls-ca-cert-file", str(certificate)) as server:
        port = value_of(server, "tls-port")
        server.admin("ACL", "SETUSER", "responder", *RIGHTS)
        options = f"?ssl_ca_certs={certificate}" if verify else ""
        target = RedisTarget(TARGET, f"rediss://responder:hunter2@localhost:{port}{options}")

        if verify:
            assert (await target.ping()).primary
        else:
            with pytest.raises(UnavailableError, match="TLS failed"):
                await target.ping()


async def test_reachable(site: Site) -> None:
    allow(site)
    verdict = await Reachable().evaluate(step(site.target()), HERE)

    assert verdict.holds is True
    assert verdict.detail == (
        "redis target cache: all 3 masters answer" if site.cluster else "redis target cache answers"
    )


async def test_a_replica_is_not_enough_unless_it_is(single: Site) -> None:
    with run_redis("--replicaof", f"127.0.0.1 {single.masters[0].port}") as replica:
        replica.admin("ACL", "SETUSER", "responder", *RIGHTS)
        ctx = step(reached(replica.port))

        assert (await Reachable().evaluate(ctx, HERE)).holds is False
        assert (await Reachable().evaluate(ctx, HERE.model_copy(update={"primary": False}))).holds is True


async def test_what_does_not_answer_is_down(single: Site) -> None:
    allow(single)
    assert (await Reachable().evaluate(step(reached(1)), HERE)).holds is False
    single.masters[0].suspend()
    try:
        assert (await Reachable().evaluate(step(single.target(timeout=0.3)), HERE)).holds is False
    finally:
        single.masters[0].resume()


async def test_slots_without_a_master_are_down(cluster: Site) -> None:
    allow(cluster)
    cluster.masters[0].admin("CLUSTER", "DELSLOTS", 7)
    try:
        verdict = await Reachable().evaluate(step(cluster.target()), HERE)
    finally:
        cluster.masters[0].admin("CLUSTER", "ADDSLOTS", 7)
    assert verdict.holds is False
    assert "slots of the cluster have no master" in verdict.detail


async def test_a_refused_password_says_nothing_of_health(single: Site) -> None:
    allow(single)
    target = RedisTarget(TARGET, f"redis://responder:no@127.0.0.1:{single.masters[0].port}")
    with pytest.raises(ForbiddenError):
        await Reachable().evaluate(step(target), HERE)


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        ("NOPERM this user has no permissions to run the 'unlink' command", ForbiddenError, r"may not run unlink: "),
        ("NOPERM this user has no permissions to access one of the keys used", ForbiddenError, "on these keys"),
        ("NOPERM No permissions to access a key", ForbiddenError, "these keys"),
        ("OOM command not allowed when used memory > 'maxmemory'.", TemporaryError, "memory limit"),
        ("LOADING Redis is loading the dataset in memory", UnavailableError, "loading"),
        ("READONLY You can't write against a read only replica.", ConflictError, "replica"),
        ("MOVED 3999 127.0.0.1:6381", UnavailableError, "being moved"),
        ("ASK 3999 127.0.0.1:6381", UnavailableError, "being moved"),
        ("TRYAGAIN Multiple keys request during rehashing of slot", UnavailableError, "being moved"),
        ("CLUSTERDOWN Hash slot not served", UnavailableError, "the cluster is down"),
        ("MASTERDOWN Link with MASTER is down", UnavailableError, "lost its master"),
        ("BUSY Redis is busy running a script.", UnavailableError, "busy running a script"),
        ("NOREPLICAS Not enough good replicas to write.", UnavailableError, "Not enough good replicas"),
        ("ERR max number of clients reached", UnavailableError, "max number of clients"),
        ("NOAUTH Authentication required.", ForbiddenError, "refuses our user"),
        ("WRONGPASS invalid username-password pair", ForbiddenError, "refuses our user"),
        ("ERR unknown command 'UNLINK'", PermanentError, "unknown command"),
    ],
)  # fmt: skip
def test_what_a_server_refuses(answer: str, kind: type[HdrError], told: str) -> None:
    error = BaseParser.parse_error(answer)  # type: ignore[no-untyped-call]
    assert isinstance(error, Exception)

    ours = translate("redis target cache", "unlink", error)

    assert type(ours) is kind
    assert not isinstance(ours, NoAnswerError), "the server has answered: nothing was changed"
    with pytest.raises(kind, match=told):
        raise ours
    assert "127.0.0.1" not in str(ours)


def _loads(server: RedisServer) -> bool:
    try:
        return bool(server.admin("INFO", "persistence")["loading"])
    except RedisError:
        return False


def _certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "server.crt", folder / "server.key"
    subprocess.run(
        [
            *(str(require_program("openssl")), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key
