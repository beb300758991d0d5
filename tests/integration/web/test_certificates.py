"""Reading certificates of real TLS servers: valid, expired, of another host, of nobody's authority, and none at all."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hdr_responder.actions.contract import Fence, StepContext
from hdr_responder.actions.web import CertificateExpiry, CertificateExpiryParameters, CertificateExpiryResult
from hdr_responder.adapters.certificates import ConfiguredTlsServer
from hdr_responder.domain.clock import SystemClock
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.errors import NotFoundError, PermanentError, UnavailableError
from tests.integration.kubernetes.steps import KeptEvidence
from tests.services.ports import free_port

NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Authority:
    """Signs certificates."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def trust(self) -> ssl.SSLContext:
        pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()
        return ssl.create_default_context(cadata=pem)

    def sign(self, folder: Path, *, name: str, days: float) -> Path:
        """A file with a key and its certificate, which ends in so many days."""
        key = ec.generate_private_key(ec.SECP256R1())
        ends = NOW + timedelta(days=days)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(NOW, ends) - timedelta(days=60))
            .not_valid_after(ends)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        signed = builder.sign(self.key, hashes.SHA256())
        path = folder / f"{name}-{days}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
        return path


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@pytest.fixture(scope="module")
def authority() -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name("Test Authority"))
        .issuer_name(_name("Test Authority"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=100))
        .not_valid_after(NOW + timedelta(days=100))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    return Authority(key, builder.sign(key, hashes.SHA256()))


@contextlib.asynccontextmanager
async def serving(pem: Path | None) -> AsyncIterator[int]:
    """A server that shows this certificate, or speaks no TLS; its port."""
    context = None
    if pem is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(b"220 hello\r\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


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
    assert "expired 3 days ago" in result.summary


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
