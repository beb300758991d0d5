"""Certificates for tests: an authority of their own, and servers that show what it signs."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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

    def file(self, folder: Path) -> Path:
        """A file with the authority's certificate."""
        path = folder / "authority.pem"
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def own(self, folder: Path) -> Path:
        """A file with the authority's own key and certificate, which signs itself."""
        return _written(folder / "own.pem", self.key, self.certificate)

    def sign(
        self, folder: Path, *, name: str, days: float, addresses: Sequence[str] = (), more: Sequence[str] = ()
    ) -> Path:
        """A file with a key and its certificate, which ends in so many days."""
        names = [x509.DNSName(n) for n in (name, *more)]
        numbers = [x509.IPAddress(ipaddress.ip_address(a)) for a in addresses]
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
            .add_extension(x509.SubjectAlternativeName([*names, *numbers]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        signed = builder.sign(self.key, hashes.SHA256())
        return _written(folder / f"{name}-{days}.pem", key, signed)

    @contextlib.asynccontextmanager
    async def serving_http(self, folder: Path, *, name: str) -> AsyncIterator[str]:
        """A web server that shows a certificate for this name, which must be one of this machine; its address."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.sign(folder, name=name, days=9.5))

        async def hello(_: web.Request) -> web.Response:
            return web.Response(text="hello")

        application = web.Application()
        application.router.add_get("/", hello)
        runner = web.AppRunner(application)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
            yield f"https://{name}:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


def _written(path: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> Path:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def new_authority() -> Authority:
    """An authority that nobody trusts yet."""
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
async def serving(pem: Path | None, clients: Path | None = None) -> AsyncIterator[int]:
    """A server that shows this certificate, or speaks no TLS; its port. It may demand that clients show theirs."""
    context = None
    if pem is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients)

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(b"220 hello\r\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
