"""Tables that are made from the code are current, and every one has its place."""

from __future__ import annotations

import pytest

from hdr_responder.domain.ports.store import Job
from tests.unit.docs import generated
from tests.unit.docs.markdown import FILES, name

PLACED = [(file, match["name"]) for file in FILES for match in generated.BLOCK.finditer(file.read_text("utf-8"))]


@pytest.mark.parametrize(("file", "table"), PLACED, ids=[f"{name(f)}-{t}" for f, t in PLACED])
def test_the_table_is_current(file: object, table: str) -> None:
    match = next(m for m in generated.BLOCK.finditer(file.read_text("utf-8")) if m["name"] == table)  # type: ignore[attr-defined]
    assert match["body"] == generated.TABLES[table](), "run: python -m tests.unit.docs.generated"


def test_every_table_has_one_place() -> None:
    assert sorted(table for _, table in PLACED) == sorted(generated.TABLES)


def test_every_job_is_explained() -> None:
    assert set(generated.JOBS) == set(Job)


def test_an_older_table_is_replaced() -> None:
    page = "a\n<!-- generated: jobs -->\n| old |\n<!-- end -->\nb\n"
    made = generated.regenerated(page)
    assert "| old |" not in made
    assert made.startswith("a\n<!-- generated: jobs -->\n| job |")
    assert made.endswith("<!-- end -->\nb\n")
