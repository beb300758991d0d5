"""Proves every configured connection, one line each, and says what to do about those that fail."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict

from hdr_responder.cli.context import prepare
from hdr_responder.cli.failures import ExitCode
from hdr_responder.cli.findings import Finding, Status
from hdr_responder.cli.output import print_json, say
from hdr_responder.cli.parameters import Json, period

TEST_WAIT = timedelta(seconds=30)


class DoctorView(BaseModel):
    """Everything that was found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ok: bool
    findings: tuple[Finding, ...]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    *,
    send_test: Annotated[
        bool,
        typer.Option("--send-test", help="Also put a visible test message on every lane and tell what became of it."),
    ] = False,
    wait: Annotated[
        timedelta | None,
        typer.Option(parser=period, metavar="DURATION", show_default="30s", help="How long to wait for test messages."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 on warnings too, such as rights that no playbook needs.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Prove every configured connection and our rights there: databases, Redis, Alertmanager, clusters, lanes.

    Exits 3 when something cannot be reached, 1 when something is misconfigured or a right is missing. Rights beyond
    those that the playbooks need are warnings, which --strict takes for misconfigurations.
    """
    from hdr_responder.cli.examination import examine

    wait_for = (wait or TEST_WAIT) if send_test else None
    findings = asyncio.run(examine(prepare(), test_for=wait_for))
    code = _code(findings, strict=strict)
    if as_json:
        print_json(DoctorView(ok=code is ExitCode.DONE, findings=tuple(findings)))
    else:
        _print(findings)
    raise typer.Exit(code)


def _print(findings: Sequence[Finding]) -> None:
    width = max(len(f.what) for f in findings)
    statuses = max(len(s) for s in Status)
    for finding in findings:
        say(f"{finding.status.ljust(statuses)}  {finding.what.ljust(width)}  {' '.join(finding.detail.split())}")


def _code(findings: Sequence[Finding], *, strict: bool) -> ExitCode:
    bad = {Status.FAILED, Status.WARNING} if strict else {Status.FAILED}
    failed = [f for f in findings if f.status in bad]
    if any(f.unreachable for f in failed):
        return ExitCode.UNREACHABLE
    return ExitCode.BAD if failed else ExitCode.DONE
