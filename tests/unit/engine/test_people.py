"""Whether two names are one person's: the same word must not count twice under another spelling."""

from __future__ import annotations

import pytest

from hdr_responder.engine.guards import same_person


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ann", "ann", True),
        ("Ann ", "ann", True),
        ("ann (slack:U1)", "ann", True),
        ("ann (slack:U1)", "ann (slack:U1)", True),
        ("ann (slack:U1)", "ann (slack:U2)", False),
        ("ann", "anna", False),
        ("ann", None, False),
    ],
)
def test_same_person(one: str, other: str | None, same: bool) -> None:
    assert same_person(one, other) is same
