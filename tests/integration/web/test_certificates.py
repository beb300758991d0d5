"""Reading certificates of real TLS servers: valid, expired, of another host, of nobody's authority, and none at all."""

from __future__ import annotations

import asyncio
import socket
import ssl
import uuid
from pathlib import Path

import pytest

from hdr_responder.actions.certificates import CertificateExpiry, CertificateExpiryParameters, CertificateExpiryResult
from hdr_responder.actions.contract import Fence, StepContext
from hdr_responder.adapters.certificates import MAX_NAMES, ConfiguredTlsServer, parse
from hdr_responder.domain.clock import SystemClock
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.errors import NotFoundError, PermanentError, UnavailableError
from tests.integration.kubernetes.steps import KeptEvidence
from tests.integration.web.authority import Authority, new_authority, serving
from tests.services.ports import free_port


async def looked(port: int, trust: ssl.SSLContext | None = None, patience: float = 5.0) -> CertificateExpiryResult:
    server = ConfiguredTlsServer("127.0.0.1", port, server_name="shop.example", trust=trust, timeout=patience)
    ctx = StepContext(
        fence=Fence(run_id=uuid.uuid4(), token=1),
        step_id="look",
        incident_ref="INC-1",
        cluster=None,
        systems=Systems(tls={"shop": server}),
        evidence=KeptEvidence(),
        clock=SystemClock(),
    )
    return await CertificateExpiry().execute(ctx, CertificateExpiryParameters(target="shop"))


async def test_a_good_certificate(tmp_path: Path, authority: Authority) -> None:
    async with serving(authority.sign(tmp_path, name="shop.example", days=6.5)) as port:
        result = await looked(port, authority.trust)
    assert (result.days_left, result.trusted, result.problem) == (6, True, "")
    assert (result.subject, result.issuer, result.names) == ("shop.example", "Test Authority", ["shop.example"])
    assert result.summary == f"127.0.0.1:{port}: 6 days left"


async def test_an_expired_one_is_read_all_the_same(tmp_path: Path, authority: Authority) -> None:
    async with serving(authority.sign(tmp_path, name="shop.example", days=-2.5)) as port:
        result = await looked(port, authority.trust)
    assert (result.days_left, result.trusted) == (-3, False)
    assert "expired" in result.problem
    assert "expired 2 days ago" in result.summary


async def test_one_of_another_host(tmp_path: Path, authority: Authority) -> None:
    async with serving(authority.sign(tmp_path, name="other.example", days=10.5)) as port:
        result = await looked(port, authority.trust)
    assert (result.days_left, result.trusted) == (10, False)
    assert "ismatch" in result.problem


async def test_one_of_an_authority_that_nobody_knows(tmp_path: Path, authority: Authority) -> None:
    async with serving(authority.sign(tmp_path, name="shop.example", days=10.5)) as port:
        result = await looked(port)
    assert (result.days_left, result.trusted) == (10, False)
    assert result.problem


async def test_one_that_signs_itself(tmp_path: Path, authority: Authority) -> None:
    async with serving(new_authority().own(tmp_path)) as port:
        result = await looked(port, authority.trust)
    assert (result.days_left, result.trusted, result.issuer) == (99, False, "Test Authority")
    assert "self-signed" in result.problem


async def test_names_and_addresses(tmp_path: Path, authority: Authority) -> None:
    more = [f"shop{n}.example" for n in range(MAX_NAMES)]
    async with serving(authority.sign(tmp_path, name="shop.example", days=9.5, addresses=["127.0.0.1"])) as port:
        assert (await looked(port, authority.trust)).names == ["shop.example", "127.0.0.1"]
    async with serving(authority.sign(tmp_path, name="shop.example", days=9.5, more=more)) as port:
        assert len((await looked(port, authority.trust)).names) == MAX_NAMES


async def test_a_server_that_wants_to_know_its_clients_is_read_too(tmp_path: Path, authority: Authority) -> None:
    pem = authority.sign(tmp_path, name="shop.example", days=9.5)
    async with serving(pem, clients=authority.file(tmp_path)) as port:
        assert (await looked(port, authority.trust)).days_left == 9


@pytest.mark.parametrize("shown", [b"", b"nonsense", b"\x30\x82\x01\x00"])
def test_what_is_no_certificate(shown: bytes) -> None:
    with pytest.raises(ValueError, match=r"ASN\.1|parsing"):
        parse(shown, problem="")


async def test_a_server_that_hangs_up() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        with pytest.raises(UnavailableError):
            await looked(server.sockets[0].getsockname()[1])


async def test_a_server_without_tls() -> None:
    async with serving(None) as port:
        with pytest.raises(PermanentError, match="speaks no TLS"):
            await looked(port)


async def test_a_server_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UnavailableError, match="no answer in time"):
        await looked(silent.getsockname()[1], patience=0.2)


async def test_nobody_there() -> None:
    with pytest.raises(UnavailableError):
        await looked(free_port())


async def test_an_unknown_server_is_named() -> None:
    with pytest.raises(NotFoundError, match=r"targets\.tls\.shop"):
        Systems().tls_server("shop")
