"""From an error to what people and scripts get of it: clean lines on standard error and an exit code.

A traceback helps nobody at 3 a.m. and may show what it should not; with ``HDR_LOG__LEVEL=debug`` there is one.
"""

from __future__ import annotations

import os
import traceback
from enum import IntEnum

import typer

from hdr_responder.cli.output import visible
from hdr_responder.errors import ConfigError, HdrError, TemporaryError


class ExitCode(IntEnum):
    """Exit codes; public, never renumbered."""

    DONE = 0
    BAD = 1
    """The documents or the outcome are bad."""
    USAGE = 2
    UNREACHABLE = 3
    """A dependency cannot be reached."""


def exit_code(error: Exception) -> ExitCode:
    """Return the exit code for an error that ended a command."""
    return ExitCode.UNREACHABLE if isinstance(error, TemporaryError) else ExitCode.BAD


def complain(error: Exception) -> ExitCode:
    """Tell an error on standard error, without secrets, and return its exit code."""
    from hdr_responder.telemetry import redact

    if os.environ.get("HDR_LOG__LEVEL") == "debug":
        typer.echo(redact("".join(traceback.format_exception(error))), err=True)
    for line in lines(error):
        typer.echo(visible(redact(line)), err=True)
    return exit_code(error)


def lines(error: Exception) -> list[str]:
    """Return what to tell: each problem of documents and settings on its own line, everything else on one."""
    text = str(error)
    if isinstance(error, ConfigError):
        return text.splitlines()
    if isinstance(error, HdrError):
        return [" ".join(text.split())]
    return [f"unexpected {type(error).__name__}: {' '.join(text.split())} (HDR_LOG__LEVEL=debug shows where)"]
