"""Query texts leave the adapter without what people typed into them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdr_responder.adapters.postgres_target.literals import without_literals


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("SELECT * FROM t WHERE a = 'x' AND b = 12.5e-3", "SELECT * FROM t WHERE a = ? AND b = ?"),
        ("SELECT 'it''s', E'a\\'b', U&'d\\0061t', B'01', x'ff'", "SELECT ?, ?, ?, ?, ?"),
        ("ALTER ROLE a PASSWORD 'hunter2'", "ALTER ROLE a PASSWORD ?"),
        ("SELECT 'cut off", "SELECT ?"),
        ("SELECT E'cut off\\", "SELECT ?"),
        ("SELECT $tag$ secret $x$ more $tag$, $$b$$, $1, $2", "SELECT ?, ?, $1, $2"),
        ("SELECT $tag$ cut off", "SELECT ?"),
        ('SELECT "a ""1"" b", t1.c2, _3 FROM "x\'y"', 'SELECT "a ""1"" b", t1.c2, _3 FROM "x\'y"'),
        ("SELECT 1 -- password 'x'\n, 0x1F /* 'y' */, .5", "SELECT ?  \n, ?  , ?"),
        ("SELECT a-1, b+2e10", "SELECT a-?, b+?"),
        ("/* tag='x' */ COMMIT", "COMMIT"),
        ("", ""),
    ],
)
def test_literals_are_taken_out(query: str, shown: str) -> None:
    assert without_literals(query) == shown


@given(st.text(alphabet=st.characters(exclude_characters="'\\\x00", exclude_categories=["Cs"]), max_size=40))
def test_no_string_is_shown_wherever_the_text_is_cut(secret: str) -> None:
    query = f"SELECT '{secret}hunter2{secret}', 'hunter2'"
    for cut in range(len(query) + 1):
        assert "hunter2" not in without_literals(query[:cut])
