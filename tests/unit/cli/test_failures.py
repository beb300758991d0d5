"""Errors become lines and exit codes: never a traceback, never a secret, never a control sequence."""

from __future__ import annotations

import pytest

from hdr_responder.cli.failures import complain, exit_code
from hdr_responder.errors import (
    AdapterError,
    ConfigError,
    ConflictError,
    FencedError,
    ForbiddenError,
    HdrError,
    InvalidInputError,
    NotFoundError,
    TemporaryError,
    UnavailableError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 1),
        (NotFoundError("x"), 1),
        (ConflictError("x"), 1),
        (ForbiddenError("x"), 1),
        (InvalidInputError("x"), 1),
        (FencedError("x"), 1),
        (AdapterError("x"), 1),
        (HdrError("x"), 1),
        (ValueError("x"), 1),
        (TemporaryError("x"), 3),
        (UnavailableError("x"), 3),
    ],
)
def test_codes(error: Exception, code: int) -> None:
    assert exit_code(error) == code


def test_problems_keep_their_lines_and_others_become_one(capsys: pytest.CaptureFixture[str]) -> None:
    complain(ConfigError("a.yaml:1:2: wrong\nb.yaml:3:4: wrong"))
    complain(NotFoundError("there is\n  no such thing"))
    assert capsys.readouterr().err == "a.yaml:1:2: wrong\nb.yaml:3:4: wrong\nthere is no such thing\n"


def test_nothing_secret_and_no_control_sequence_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    complain(UnavailableError("postgresql://hdr:hunter2hunter@db/x said \x1b[31mno\u202e"))
    out, err = capsys.readouterr()
    assert (out, err) == ("", "postgresql://hdr:***@db/x said \\x1b[31mno\\u202e\n")


def test_a_defect_is_a_line_too_and_debug_shows_where(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HDR_LOG__LEVEL", raising=False)
    assert complain(KeyError("x")) == 1
    assert capsys.readouterr().err.startswith("unexpected KeyError: 'x'")
    monkeypatch.setenv("HDR_LOG__LEVEL", "debug")
    with pytest.raises(ZeroDivisionError) as caught:
        _ = 1 / 0
    complain(caught.value)
    assert "Traceback" in capsys.readouterr().err
