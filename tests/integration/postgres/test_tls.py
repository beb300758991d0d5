"""TLS to a target as its address says, on a real server with a certificate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hdr_responder.adapters.postgres_target import PostgresTarget
from hdr_responder.errors import ConfigError, ForbiddenError, UnavailableError
from tests.services.certificates import Certificates, make_certificates
from tests.services.postgres import PostgresServer, run_postgres

pytestmark = pytest.mark.service
ONLY_TLS = "hostssl all postgres 127.0.0.1/32 trust\nhostssl all secured 127.0.0.1/32 scram-sha-256\n"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def secured(certificates: Certificates) -> Iterator[PostgresServer]:
    """A server that takes encrypted connections only."""
    with run_postgres(max_connections=20, distribution=True) as server:
        server.execute("CREATE ROLE secured LOGIN PASSWORD 'hunter2'")
        data = Path(server.execute("SHOW data_directory"))
        for source, name in ((certificates.key, "server.key"), (certificates.certificate, "server.crt")):
            (data / name).write_bytes(source.read_bytes())
            (data / name).chmod(0o600)
            server.give(data / name)
        (data / "pg_hba.conf").write_text(ONLY_TLS)
        server.execute("ALTER SYSTEM SET ssl = on; ")
        server.execute("SELECT pg_reload_conf()")
        yield server


def target(server: PostgresServer, options: str, *, host: str = "localhost", user: str = "secured") -> PostgresTarget:
    return PostgresTarget("empire", f"postgresql://{user}:hunter2@{host}:{server.port}/postgres?{options}", 5.0)


async def test_a_verified_connection(secured: PostgresServer, certificates: Certificates) -> None:
    found = await target(secured, f"sslmode=verify-full&sslrootcert={certificates.authority}").ping()
    assert found.primary


async def test_the_authority_of_somebody_else_is_refused(secured: PostgresServer, tmp_path: Path) -> None:
    wrong = make_certificates(tmp_path / "other").authority
    with pytest.raises(UnavailableError, match="TLS failed") as raised:
        await target(secured, f"sslmode=verify-full&sslrootcert={wrong}").ping()
    assert "hunter2" not in str(raised.value)


async def test_a_certificate_of_another_name_is_refused(secured: PostgresServer, certificates: Certificates) -> None:
    with pytest.raises(UnavailableError, match="TLS failed"):
        await target(secured, f"sslmode=verify-full&sslrootcert={certificates.authority}", host="127.0.0.1").ping()
    by_authority = target(secured, f"sslmode=verify-ca&sslrootcert={certificates.authority}", host="127.0.0.1")
    assert (await by_authority.ping()).primary


async def test_without_tls_the_server_refuses(secured: PostgresServer) -> None:
    with pytest.raises(ForbiddenError, match="no encryption"):
        await target(secured, "sslmode=disable").ping()


async def test_a_server_without_tls_is_refused(server: PostgresServer) -> None:
    with pytest.raises(UnavailableError, match="empire"):
        await target(server, "sslmode=require", user="postgres").ping()


async def test_a_file_that_is_not_there_is_a_wrong_setting(secured: PostgresServer, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, UnavailableError), match="empire"):
        await target(secured, f"sslmode=verify-full&sslrootcert={tmp_path / 'gone.crt'}").ping()
