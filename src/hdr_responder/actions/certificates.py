"""Reads the certificates of servers that the settings name.

Reading one is a connection to the outside, so where it goes is no playbook's or label's choice.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import Field

from hdr_responder.actions.contract import AnyAction, Parameters, Permission, Read, Result, StepContext

DAY = timedelta(days=1)


class CertificateExpiryParameters(Parameters):
    """Whose certificate."""

    shorthand = "target"
    target: str = Field(min_length=1, description="A name under `targets.tls`.")


class CertificateExpiryResult(Result):
    """The certificate that the server shows."""

    days_left: int = Field(description="Whole days until it expires; negative when it has expired.")
    not_after: datetime
    subject: str
    issuer: str
    names: list[str] = Field(description="Host names and addresses that it is for.")
    trusted: bool = Field(description="Whether a client would accept it now.")
    problem: str = Field(description="Why a client would not; empty when it would.")
    summary: str


class CertificateExpiry(Read[CertificateExpiryParameters, CertificateExpiryResult]):
    """Reads a server's certificate (manual C12, A14)."""

    name = "tls.certificate_expiry"
    summary = "Read the certificate that a server shows: days left, names, and whether a client would trust it."
    example = """
id: certificate
action: tls.certificate_expiry
with: {target: hdr-empire}
"""
    parameters = CertificateExpiryParameters
    result = CertificateExpiryResult
    default_timeout_seconds = 30.0

    def permissions(self, params: CertificateExpiryParameters) -> tuple[Permission, ...]:
        """Return none: certificates are public."""
        del params
        return ()

    async def execute(self, ctx: StepContext, params: CertificateExpiryParameters) -> CertificateExpiryResult:
        """Connect and read."""
        server = ctx.systems.tls_server(params.target)
        found = await server.certificate()
        left = found.not_after - ctx.clock.now()
        days = left // DAY
        told = f"{days} days left" if days >= 0 else f"expired {-left // DAY} days ago"
        return CertificateExpiryResult(
            days_left=days,
            not_after=found.not_after,
            subject=found.subject,
            issuer=found.issuer,
            names=list(found.names),
            trusted=not found.problem,
            problem=found.problem,
            summary=f"{server.address}: {told}" + (f"; {found.problem}" if found.problem else ""),
        )


TLS_ACTIONS: tuple[AnyAction, ...] = (CertificateExpiry(),)
