"""The `TlsServer` port: reads a certificate without trusting it, and then asks the same server as a client would.

Python gives the fields of a verified certificate only, so the bytes of any other are parsed by `cryptography`, which is
imported when a certificate is first asked for: it would weigh on every service that watches none.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

from hdr_responder.domain.ports.certificates import Certificate
from hdr_responder.errors import PermanentError, UnavailableError

if TYPE_CHECKING:
    from cryptography import x509

MAX_NAMES = 100
NAME_LIMIT = 300


class ConfiguredTlsServer:
    """One server at ``host:port``; ``server_name`` is asked for where it is not the host, ``timeout`` is in seconds."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        server_name: str | None = None,
        timeout: float = 10.0,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._server_name = server_name or host
        self._timeout = timeout
        self._trust = trust

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{self._host}:{self._port}"

    async def certificate(self) -> Certificate:
        """Read the certificate, then tell whether a client would trust it."""
        blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        blind.check_hostname = False
        blind.verify_mode = ssl.CERT_NONE
        try:
            shown = await self._shown(blind)
        except ssl.SSLError as e:
            raise PermanentError(f"{self.address} speaks no TLS that we understand ({e.reason})") from e
        try:
            return parse(shown, problem=await self._problem())
        except ValueError as e:
            raise PermanentError(f"{self.address} shows a certificate that cannot be read") from e

    async def _problem(self) -> str:
        try:
            await self._shown(self._trust or ssl.create_default_context())
        except ssl.SSLCertVerificationError as e:
            return e.verify_message or "not trusted"
        except ssl.SSLError as e:
            return str(e.reason or "not trusted")
        return ""

    async def _shown(self, context: ssl.SSLContext) -> bytes:
        try:
            async with asyncio.timeout(self._timeout):
                _, writer = await asyncio.open_connection(
                    self._host, self._port, ssl=context, server_hostname=self._server_name
                )
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as e:
            raise UnavailableError(f"{self.address}: the connection was closed") from e
        except ssl.SSLError:
            raise
        except TimeoutError as e:
            raise UnavailableError(f"{self.address}: no answer in time") from e
        except OSError as e:
            raise UnavailableError(f"{self.address}: {(e.strerror or type(e).__name__).lower()}") from e
        try:
            shown: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        finally:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
                async with asyncio.timeout(self._timeout):
                    await writer.wait_closed()
        if shown is None:
            raise PermanentError(f"{self.address} shows no certificate")
        return shown


def parse(shown: bytes, *, problem: str) -> Certificate:
    """Return what a certificate in DER says, at most `MAX_NAMES` of its names; raises ValueError when it is none."""
    from cryptography import x509

    parsed = x509.load_der_x509_certificate(shown)
    return Certificate(
        subject=_common_name(parsed.subject),
        issuer=_common_name(parsed.issuer),
        names=_names(parsed)[:MAX_NAMES],
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
        problem=problem,
    )


def _common_name(name: x509.Name) -> str:
    from cryptography.x509.oid import NameOID

    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return (str(found[0].value) if found else name.rfc4514_string())[:NAME_LIMIT]


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    hosts = extension.value.get_values_for_type(x509.DNSName)
    return (*hosts, *(str(address) for address in extension.value.get_values_for_type(x509.IPAddress)))
