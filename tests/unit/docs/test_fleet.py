"""The facts that docs/fleet.md claims stand in the shipped documents, figure by figure."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.unit.docs.markdown import ROOT, code_spans, rows

PAGE = ROOT / "docs/fleet.md"
CLAIMS = [[cell.strip("`") for cell in row] for row in rows(PAGE.read_text("utf-8"))]
FACT = re.compile(r"[SMAPICDG]\d{1,2}")
MUST_BE_CLAIMED = {
    *(f"S{n:02}" for n in range(1, 18)),
    *("A01", "A02", "A03", "A04", "A05", "A20", "P01", "P02", "P03", "P04", "P10", "C3", "C4", "C5"),
}
PART = re.compile(r"(\w+)(?:\[([\w-]+)\])?")


def value_at(documents: list[Any], path: str) -> Any:
    """The value at ``a.b[name].c``; a list is entered by the name, id or kind of its entry."""
    found = [at for document in documents if (at := _enter(document, path)) is not None]
    assert found, f"nothing stands at {path}"
    return found[0]


def _enter(data: Any, path: str) -> Any:
    for part in path.split("."):
        match = PART.fullmatch(part)
        assert match is not None, path
        data = data.get(match[1]) if isinstance(data, dict) else None
        if match[2] is not None:
            data = next((e for e in data or () if match[2] in (e.get("name"), e.get("id"))), None)
        if data is None:
            return None
    return data


def plain(value: Any) -> Any:
    """Values without the types of the reader."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("fact", "file", "path", "value"), CLAIMS, ids=[f"{c[0]}-{c[2]}" for c in CLAIMS])
def test_the_claim_holds(fact: str, file: str, path: str, value: str) -> None:
    assert FACT.fullmatch(fact)
    documents = list(YAML(typ="safe").load_all((ROOT / file).read_text("utf-8")))
    found = plain(value_at(documents, path))
    expected = value if isinstance(found, str) else plain(YAML(typ="safe").load(value))
    assert found == expected


def test_what_must_be_claimed_is() -> None:
    assert MUST_BE_CLAIMED - {fact for fact, *_ in CLAIMS} == set()


def test_every_path_is_a_code_span() -> None:
    assert all(file in code_spans(PAGE) for _, file, _, _ in CLAIMS)


def test_a_wrong_figure_would_be_found() -> None:
    with pytest.raises(AssertionError):
        test_the_claim_holds("S01", "config/services.yaml", "services[neural-hdr].replicas", "4")
    with pytest.raises(AssertionError, match="nothing stands"):
        test_the_claim_holds("S01", "config/services.yaml", "services[no-such].replicas", "3")
