"""What the tests of the documentation read of Markdown: fenced blocks, headings, links, tables and code spans."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
FILES = tuple(sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")], key=str))
"""Every page that people read."""

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_NOTE = re.compile(r"<!-- (?P<note>[^>]*) -->\s*\Z")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"`(?P<code>[^`\n]+)`")
_HEADING = re.compile(r"^#{1,6} (?P<text>.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block. ``note`` is the HTML comment just before it, empty without one."""

    file: Path
    line: int
    language: str
    body: str
    note: str

    def __str__(self) -> str:
        return f"{name(self.file)}:{self.line}"


def name(file: Path) -> str:
    """A page's path from the root of the repository."""
    return file.relative_to(ROOT).as_posix()


def blocks(file: Path) -> list[Block]:
    """The fenced blocks of a page."""
    text = file.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        note = _NOTE.search(text, 0, match.start())
        found.append(
            Block(
                file=file,
                line=text.count("\n", 0, match.start()) + 1,
                language=match["language"],
                body=textwrap.dedent(match["body"]),
                note=note["note"] if note else "",
            )
        )
    return found


def all_blocks(*languages: str) -> list[Block]:
    """The blocks of all pages in these languages."""
    return [block for file in FILES for block in blocks(file) if block.language in languages]


def prose(file: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", file.read_text(encoding="utf-8"))


def links(file: Path) -> list[str]:
    """The targets of a page's links."""
    return [match["target"] for match in _LINK.finditer(prose(file))]


def code_spans(file: Path) -> list[str]:
    """What a page sets in backticks."""
    return [match["code"] for match in _CODE.finditer(prose(file))]


def anchors(file: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    return {_slug(match["text"]) for match in _HEADING.finditer(prose(file))}


def section(file: Path, heading: str) -> str:
    """The text below a heading, up to the next one of any level."""
    text = file.read_text(encoding="utf-8")
    match = re.search(rf"^#+ {re.escape(heading)}$(?P<body>.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert match is not None, f"{name(file)} has no section {heading!r}"
    return match["body"]


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every table row of a text, headers and rulers left out."""
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if not line.startswith("|") or set(line) <= set("|- :"):
            continue
        if i + 1 < len(lines) and lines[i + 1].startswith("|") and set(lines[i + 1]) <= set("|- :"):
            continue
        yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
