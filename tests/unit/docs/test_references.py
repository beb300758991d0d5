"""What the documentation refers to exists: pages, headings, files, tests, variables, metrics, commands."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from hdr_responder.settings.structure import known_variables
from hdr_responder.telemetry import Metrics
from tests.unit.docs import commands
from tests.unit.docs.markdown import FILES, ROOT, anchors, code_spans, links, name

PATHS = re.compile(r"^(?:src|tests|config|playbooks|deploy|docs|scripts|requirements|\.ci)/[\w./-]*$")
PACKAGE = re.compile(r"^(?:cli|app|adapters|engine|records|telemetry|settings|documents|actions|domain)/[\w./-]+$")
VARIABLE = re.compile(r"\bHDR_[A-Z0-9_]*[A-Z0-9]\b")
METRIC = re.compile(r"\bhdr_responder_\w+")
MADE = {"tests/services/go", "docs/schema"}
FREE_VARIABLES = {"HDR_USER"}
"""Read by the command line alone."""
FOREIGN = re.compile(r"/tmp/|/root/|TODO|FIXME")
HIDDEN = {".importlinter"}


def pages(*parts: str) -> list[Path]:
    return [f for f in FILES if not parts or name(f) in parts]


@pytest.mark.parametrize("file", FILES, ids=name)
def test_links_lead_somewhere(file: Path) -> None:
    broken = []
    for link in links(file):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (file.parent / path).resolve() if path else file
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("file", FILES, ids=name)
def test_files_and_tests_that_are_named_exist(file: Path) -> None:
    missing = []
    for code in code_spans(file):
        path, _, test = code.partition("::")
        if PATHS.match(path):
            found = (ROOT / path).exists() and (not test or defines(ROOT / path, test))
        elif PACKAGE.match(path):
            found = (ROOT / "src/hdr_responder" / path).exists()
        else:
            continue
        if not found:
            missing.append(code)
    assert not missing


def defines(file: Path, test: str) -> bool:
    last = test.rpartition("::")[2]
    return re.search(rf"^ *(?:(?:async )?def|class) {last}\b", file.read_text("utf-8"), re.MULTILINE) is not None


@pytest.mark.parametrize("file", FILES, ids=name)
def test_variables_exist(file: Path) -> None:
    text = re.sub(r"HDR_\w*<name>\w*", "", file.read_text("utf-8"))
    known = {*known_variables(), *FREE_VARIABLES}
    assert {v for v in VARIABLE.findall(text) if v not in known and not fits_a_named_target(v)} == set()


def fits_a_named_target(variable: str) -> bool:
    patterns = [re.escape(v).replace("<name>", "[A-Z0-9_]+") for v in named_variables()]
    return any(re.fullmatch(f"{p}(?:_FILE)?", variable) for p in patterns)


@cache
def named_variables() -> tuple[str, ...]:
    from hdr_responder.settings import describe_settings

    return tuple(s.variable for s in describe_settings() if "<name>" in s.variable)


def metric_names() -> set[str]:
    text = Metrics()
    text.delivery("s", "r")
    found = set()
    for family in text.registry.collect():
        found |= {family.name, f"{family.name}_total", f"{family.name}_bucket"}
    return found


@pytest.mark.parametrize("file", [*FILES, *(ROOT / "deploy").rglob("*.yaml")], ids=name)
def test_metrics_exist(file: Path) -> None:
    assert set(METRIC.findall(file.read_text("utf-8"))) <= metric_names()


@pytest.mark.parametrize("file", FILES, ids=name)
def test_commands_in_the_text_exist(file: Path) -> None:
    import typer

    from hdr_responder.cli.root import app

    top: dict[str, object] = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    for code in code_spans(file):
        words = code.split()
        if words[0] == "hdr-responder" and len(words) > 1 and not words[1].startswith("-"):
            assert words[1] in top, code
            inner = getattr(top[words[1]], "commands", None)
            assert inner is None or len(words) == 2 or words[2] in inner, code
        if words[0] == "make" and len(words) == 2:
            assert words[1] in commands.make_targets(), code


@pytest.mark.parametrize("file", [*FILES, *(f for f in (ROOT / "deploy").rglob("*") if f.is_file())], ids=name)
def test_the_text_is_about_the_product_alone(file: Path) -> None:
    assert FOREIGN.findall(file.read_text("utf-8")) == []


@pytest.mark.parametrize("file", sorted((ROOT / "docs/decisions").glob("0*.md")), ids=name)
def test_decisions_have_their_form(file: Path) -> None:
    text = file.read_text("utf-8")
    assert re.match(rf"# {int(file.name[:4])}\. \S", text)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]
    assert re.search(r"^Status: (accepted|replaced by)", text, re.MULTILINE)
    assert len(text.split()) < 350, "half a page"
    assert f"]({file.name})" in (file.parent / "README.md").read_text("utf-8")
