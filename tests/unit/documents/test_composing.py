"""The quick parser is used only where it gives the very nodes that the careful one gives."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdr_responder.documents import composing
from hdr_responder.documents.problems import Problem
from hdr_responder.documents.source import Source, parse_sources

ROOT = Path(__file__).parents[3]
WRITTEN = sorted(p for folder in ("config", "playbooks", "tests/documents") for p in (ROOT / folder).rglob("*.yaml"))
_PIECES = (
    *(
        "a",
        "b: ",
        "- ",
        "\n",
        "\n  ",
        "\n    ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        ": ",
        ":",
        "#",
        " #",
        "'",
        '"',
        "|",
        "|-",
        ">",
    ),
    *(
        "|+2",
        "? ",
        "\\",
        "x y",
        "1",
        "\n---\n",
        "\n...\n",
        "%",
        "!",
        "&a ",
        "*a ",
        "<<: ",
        "@",
        "`",
        "é",
        "🎉",
        "-",
        "\t",
    ),
    *(
        "k: v\n",
        "null",
        "~",
        "\\n",
        "\\x41",
        "\\/",
        "''",
        "  ",
        "\n\n",
        "|\n  t\n  u\n",
        ">-\n  t\n  u\n",
        "\r\n",
        "\x85",
    ),
    *("k: [1, {a: 'b'}]\n", "- - x\n", "- k: v\n  l: w\n", "\\\n", "k:\n- x\n", "\ufeff", "\u2028"),
)


def _read(text: str) -> tuple[list[Any], list[Problem]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sources, problems = parse_sources(text, "f.yaml")
    return [_plain(source) for source in sources], problems


def _plain(source: Source) -> Any:
    return repr(source.data), source._values, source._keys


def _both(text: str) -> tuple[Any, Any]:
    with pytest.MonkeyPatch.context() as patch:
        quick = _read(text)
        patch.setattr(composing, "CParser", None)
        return quick, _read(text)


@pytest.mark.parametrize("path", WRITTEN, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_documents_read_the_same(path: Path) -> None:
    quick, careful = _both(path.read_text("utf-8"))
    assert quick == careful


@given(st.lists(st.sampled_from(_PIECES), max_size=14).map("".join))
def test_any_text_reads_the_same(text: str) -> None:
    quick, careful = _both(text)
    assert quick == careful


def test_scalars_read_the_same() -> None:
    for word in map("".join, itertools.product("+-.05eExo_~", repeat=3)):
        quick, careful = _both(f"a: {word}\n")
        assert quick == careful, word


@pytest.mark.parametrize("text", ["a: 1\n", "- |\n  t\n- >\n  u\n", "a: é\n"])
def test_plain_documents_are_read_quickly(text: str) -> None:
    assert composing._quickly(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "a:\tb\n",
        "a: b\r\n",
        "%YAML 1.1\n---\na: b\n",
        "a: &x b\n",
        "a: !!str 1\n",
        "[" * 60 + "]" * 60,
        "a: [\n",
        "a: \x85\n",
    ],
)
def test_the_rest_is_left_to_the_careful_parser(text: str) -> None:
    assert composing._quickly(text) is None
