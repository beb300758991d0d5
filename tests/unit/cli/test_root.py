"""The command line as a whole: what it lists, what it refuses, and that it starts at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hdr_responder import __version__
from tests.unit.cli.command_line import ROOT, environment, run_process
from tests.unit.cli.conftest import Run

COMMANDS = {
    *("serve", "demo", "migrate", "check", "plan", "simulate", "test", "schema", "rbac", "doctor"),
    *("pause", "resume", "hold", "postmortem", "report", "incidents", "runs", "deliveries"),
}
SLOW = (
    "kubernetes_asyncio",
    "slack_bolt",
    "slack_sdk",
    "sqlalchemy",
    "alembic",
    "aiohttp",
    "asyncpg",
    "redis",
    "pgqueuer",
)


def _listed(help_text: str) -> set[str]:
    after = help_text.split("Commands:", 1)[1]
    return {line.split()[0] for line in after.splitlines() if line.startswith("  ") and not line.startswith("   ")}


def test_it_lists_what_there_is_and_nothing_else(run: Run) -> None:
    ended = run("--help")
    assert ended.code == 0
    assert _listed(ended.out) == COMMANDS


@pytest.mark.parametrize(
    ("noun", "verbs"),
    [
        ("incidents", {"list", "show", "ack", "lead", "resolve", "note"}),
        ("runs", {"list", "show", "approve", "deny", "cancel", "undo"}),
        ("deliveries", {"list", "show", "replay"}),
    ],
)
def test_nouns_list_their_verbs(run: Run, noun: str, verbs: set[str]) -> None:
    assert _listed(run(noun, "--help").out) == verbs


def test_the_version(run: Run) -> None:
    assert run("--version").out == f"hdr-responder {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "Usage:"),
        (("simulate",), "simulate"),
        (("incidents", "show", "INC-x"), "not an incident reference"),
        (("incidents", "ack"), "INC-n"),
        (("incidents", "list", "--limit", "0"), "--limit"),
        (("incidents", "list", "--limit", "501"), "--limit"),
        (("incidents", "list", "--status", "open"), "--status"),
        (("incidents", "note", "INC-1", "  "), "must not be empty"),
        (("incidents", "ack", "INC-1", "--by", " "), "--by"),
        (("runs", "show", "abc"), "RUN"),
        (("runs", "list", "--status", "done"), "--status"),
        (("deliveries", "show", "0"), "ID"),
        (("deliveries", "show", "9223372036854775808"), "ID"),
        (("hold", "neural-hdr"), "DURATION"),
        (("hold", "neural-hdr", "5"), "is not a duration"),
        (("report", "--since", "0"), "longer than 0"),
        (("schema", "Runbook"), "Runbook"),
        (("plan", "restart-service", "--alert", "no-such-file.json"), "no-such-file.json"),
        (("check", "--config", "no-such-folder"), "no-such-folder"),
    ],
)
def test_usage_mistakes_exit_with_2_and_name_what_is_wrong(run: Run, arguments: tuple[str, ...], told: str) -> None:
    ended = run(*arguments)
    assert ended.code == 2
    assert told in ended.err + ended.out
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("arguments", [["--help"], ["check"], ["schema", "triage"]])
def test_it_starts_without_drivers_and_clients(tmp_path: Path, arguments: list[str]) -> None:
    script = (
        "import sys\n"
        "from hdr_responder.cli import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "except SystemExit as end:\n"
        f"    sys.exit(end.code or ','.join(m for m in {SLOW!r} if m in sys.modules) or 0)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("incidents", "list"),
        ("incidents", "ack", "INC-1"),
        ("runs", "list", "--json"),
        ("deliveries", "replay", "1"),
        ("pause", "a reason"),
        ("report",),
        ("migrate",),
    ],
)
def test_without_a_database_commands_exit_with_3_and_start_nothing(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ended = run_process(tmp_path, *arguments)
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.count("\n") == 1
    assert "HDR_DATABASE__URL is not set" in ended.err
    assert list(tmp_path.rglob("*")) == []


def test_an_unreachable_database_is_told_without_its_password(tmp_path: Path) -> None:
    url = "postgresql://responder:s3cr3tpw@127.0.0.1:1/hdr"
    ended = run_process(tmp_path, "incidents", "list", variables={"HDR_DATABASE__URL": url})
    assert ended.code == 3
    assert ended.err.count("\n") == 1
    assert "database" in ended.err
    assert "s3cr3tpw" not in ended.err


def test_wrong_settings_are_told_at_once_by_every_command(tmp_path: Path) -> None:
    wrong = {"HDR_HTTP__PORT": "many", "HDR_LOG__FORMAT": "xml"}
    ended = run_process(tmp_path, "incidents", "list", variables=wrong)
    assert ended.code == 1
    assert {line.split(":")[0] for line in ended.err.splitlines()} == set(wrong)
