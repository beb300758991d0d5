"""Tables: aligned and plain where nobody looks, drawn on a terminal, and never steered by text from outside."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence

import pytest

from hdr_responder.cli.output import clock, print_table, visible

ROWS = [("INC-1", "down"), ("INC-1000", "\x1b[31mred\nnew line")]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


Show = Callable[..., str]


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Show:
    """``show(columns, rows)``: what a terminal gets of a table."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def _show(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        terminal = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", terminal)
            print_table(columns, rows, empty="none")
        return terminal.getvalue()

    return _show


def test_off_a_terminal_lines_are_aligned_and_plain(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("REF", "WHAT"), ROWS, empty="none")
    assert capsys.readouterr().out == "REF       WHAT\nINC-1     down\nINC-1000  [31mred new line\n"


def test_nothing_is_noted_beside_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("REF",), [], empty="There are none.")
    assert capsys.readouterr() == ("", "There are none.\n")


def test_a_terminal_gets_styles_but_no_sequences_from_outside(show: Show) -> None:
    shown = show(("REF", "WHAT"), ROWS)
    assert "\x1b[1m" in shown
    assert "\x1b[31m" not in shown
    assert "[31mred new line" in shown


def test_markup_from_outside_is_text(show: Show) -> None:
    assert "[bold]INC-1[/bold]" in show(("REF",), [("[bold]INC-1[/bold]",)])


def test_ids_stay_whole_on_a_narrow_terminal(show: Show) -> None:
    identity = "d5f66550-4b6b-49a5-8fde-077c7cd021d4"
    shown = show(("RUN", "PLAYBOOK", "WHY"), [(identity, "terminate-blocking-query", "word " * 30)])
    assert identity in shown
    assert "terminate-blocking-query" in shown
    assert len(shown.splitlines()) > 2


def test_no_color_is_honoured(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in show(("REF",), [("INC-1",)])


def test_texts() -> None:
    assert visible("a\tb\nc\x07\u200e\ud800") == "a\tb\nc\\x07\\u200e\\ud800"
    assert clock(None) == "-"
