"""What the documentation says of folders, tables, states and limits is what the code says."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

import pytest

from hdr_responder.actions.alerts import AlertCheck
from hdr_responder.domain.incidents import _FORWARD, IncidentStatus
from hdr_responder.domain.notifications import NotificationStatus
from hdr_responder.domain.runs import RUN_MOVES, STEP_MOVES, RunStatus, StepStatus, Verification
from hdr_responder.engine import guards
from hdr_responder.engine.holding import MAX_HELD
from hdr_responder.engine.lease import LeaseSettings
from tests.unit.docs.markdown import ROOT, blocks, rows, section

ARCHITECTURE = ROOT / "docs/architecture.md"
STATES = ROOT / "docs/states.md"
PACKAGE = ROOT / "src/hdr_responder"
SQL = "".join(f.read_text("utf-8") for f in (PACKAGE / "adapters/store/migrations/versions").glob("*.sql"))


def first_cells(text: str) -> list[str]:
    return [row[0].strip("`") for row in rows(text)]


def test_folders() -> None:
    (block,) = [b for b in blocks(ARCHITECTURE) if b.note == "folders"]
    listed = re.findall(r"^  (\w+)(?:/|\.py) ", block.body, re.MULTILINE)
    real = {
        p.stem for p in PACKAGE.iterdir() if (p.is_dir() or p.suffix == ".py") and not p.name.startswith(("_", "."))
    }
    assert set(listed) == real - {"py"}
    layers = re.findall(r"^    hdr_responder\.(\w+)$", _layers(), re.MULTILINE)
    assert listed == layers


def _layers() -> str:
    text = (ROOT / ".importlinter").read_text("utf-8")
    return text[text.index("layers =") : text.index("[importlinter:contract:clients]")]


def test_tables() -> None:
    made = re.findall(r"^create table (\w+)", SQL, re.MULTILINE)
    assert sorted(first_cells(section(ARCHITECTURE, "Tables"))) == sorted(made)


def test_every_promise_names_its_place_and_a_test() -> None:
    for promise, how, where, test in rows(section(ARCHITECTURE, "Promises")):
        assert promise
        assert how
        assert (ROOT / where.strip("`")).exists(), where
        assert test.strip("`").startswith("tests/"), test


@pytest.mark.parametrize(
    ("heading", "states"),
    [
        ("Runs", RunStatus),
        ("Verification", Verification),
        ("Steps", StepStatus),
        ("Notifications", NotificationStatus),
    ],
)
def test_states(heading: str, states: type[StrEnum]) -> None:
    assert sorted(first_cells(section(STATES, heading))) == sorted(states)


def test_states_of_deliveries() -> None:
    found = re.search(r"create table deliveries.*?status in \(([^)]*)\)", SQL, re.DOTALL)
    assert found is not None
    assert sorted(first_cells(section(STATES, "Deliveries"))) == sorted(re.findall(r"'(\w+)'", found[1]))


def test_moves_of_incidents() -> None:
    allowed = {(a, b) for a, ends in _FORWARD.items() for b in ends}
    text = section(STATES, "Incidents")
    drawn = re.findall(r"(\w+) --> (\w+)", text)
    assert {(IncidentStatus(a), IncidentStatus(b)) for a, b in drawn} == allowed
    told = [(row[0].strip("`"), row[1].strip("`")) for row in rows(text)]
    assert {(IncidentStatus(a), IncidentStatus(b)) for a, b in told if a} == allowed


def test_moves_of_runs() -> None:
    allowed = {(a, b) for a, ends in RUN_MOVES.items() for b in ends if a is not b}
    drawn = re.findall(r"(\w+) --> (\w+)", section(STATES, "Runs"))
    assert {(RunStatus(a), RunStatus(b)) for a, b in drawn} == allowed
    told = [(row[0].strip("`"), row[1].strip("`")) for row in rows(section(STATES, "Moves of runs"))]
    assert {(RunStatus(a), RunStatus(b)) for a, b in told if a} == allowed


def test_moves_of_steps() -> None:
    told = {(row[0].strip("`"), row[1].strip("`")) for row in rows(section(STATES, "Moves of steps"))}
    assert told == {(a.value, b.value) for a, ends in STEP_MOVES.items() for b in ends}


def test_nothing_but_move_sets_the_status_of_a_run_or_step() -> None:
    sets = re.compile(r"\b(run|step|present|claimed|s)\.status\b(, [\w., ]+)? = ")
    found = [
        f"{p.name}: {m[0]}" for p in (PACKAGE / "engine").rglob("*.py") for m in sets.finditer(p.read_text("utf-8"))
    ]
    assert not found


def test_guards() -> None:
    listed = first_cells(section(ROOT / "docs/playbooks.md", "Guards"))
    assert listed == [guard.__name__ for guard in guards.GUARDS]
    assert f"{len(guards.GUARDS)} guards" in (ROOT / "README.md").read_text("utf-8")


def test_short_forms_are_as_told() -> None:
    assert AlertCheck.parameters.shorthand == "state"


def test_figures_in_the_text() -> None:
    from hdr_responder.adapters.store import queue, receiver
    from hdr_responder.app import service
    from hdr_responder.engine import dispatcher, housekeeping, intake

    architecture, operations = ARCHITECTURE.read_text("utf-8"), (ROOT / "docs/operations.md").read_text("utf-8")
    decision = next((ROOT / "docs/decisions").glob("*group-commit.md")).read_text("utf-8")
    guide = (ROOT / "docs/playbooks.md").read_text("utf-8")
    for text, said in (
        (architecture, f"a lease lasts {LeaseSettings().duration.total_seconds():g} s"),
        (architecture, f"health ({service.HEALTH_SECONDS:g} s), the sweep for rows that are due without a job "
         f"({service.SWEEP_SECONDS:g} s), schedules ({service.SCHEDULES_SECONDS:g} s), "
         f"housekeeping ({service.HOUSEKEEPING_SECONDS:g} s) and retention (1 h)"),
        (architecture, f"intake takes {intake.BATCH} at a time"),
        (architecture, f"for {dispatcher.GIVE_UP_AFTER.total_seconds() / 3600:g} h"),
        (operations, f"up to {service.DRAIN_SECONDS:g} s, then it is interrupted"),
        (operations, f"{queue.POOL_SIZE} for the queue"),
        (operations, f"{receiver.WAITING_BYTES // 2**20} MiB"),
        (decision, f"{receiver.BATCH_DELIVERIES} deliveries, {receiver.BATCH_BYTES // 2**20} MiB"),
        (guide, "A run that cannot start within an hour"),
    ):  # fmt: skip
        assert said in " ".join(text.split()), said
    assert service.PRUNE_SECONDS == 3600
    assert MAX_HELD.total_seconds() == 3600
    assert housekeeping.HousekeepingSettings().absent_for.total_seconds() == 300


def test_a_table_is_read_without_its_header() -> None:
    assert list(rows("| a | b |\n|---|---|\n| `x` | y \\| z |\n")) == [["`x`", "y \\| z"]]


def test_versions_agree() -> None:
    from hdr_responder import __version__

    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f'version = "{__version__}"' in Path(ROOT / "pyproject.toml").read_text("utf-8")
    assert f"Version {__version__} does the main job" in (ROOT / "README.md").read_text("utf-8")
