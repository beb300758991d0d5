"""Patterns that may delete, and keys as text: for people, and for what a step captures.

A key is any bytes, and what is captured is stored as JSON in PostgreSQL, which holds no zero byte and no broken UTF-8.
"""

from __future__ import annotations

from urllib.parse import quote_from_bytes, unquote_to_bytes

PREFIX = 3
"""Literal characters that a deletion's pattern begins with at least."""
MAX_PATTERN = 200
_SHOWN_CHARACTERS = 200
_PLAIN = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) != "%")


def checked_pattern(pattern: str) -> str:
    """Return a pattern to look for; raises ValueError for an empty or overlong one and for control characters."""
    if not 0 < len(pattern) <= MAX_PATTERN:
        raise ValueError(f"a pattern has 1 to {MAX_PATTERN} characters")
    if not pattern.isprintable() or " " in pattern:
        raise ValueError("a pattern holds no spaces and no control characters")
    return pattern


def checked_deletion(pattern: str) -> str:
    """Return a pattern to delete by: a literal beginning, then ``*`` and ``?`` for the rest.

    Raises ValueError for every other one, ``*`` alone and classes such as ``[a-z]`` among them.
    """
    checked_pattern(pattern)
    if any(special in pattern for special in "[]\\"):
        raise ValueError("a pattern to delete by knows * and ? only, no [ ] and no backslash")
    if "*" not in pattern:
        raise ValueError("a pattern to delete by needs a *")
    if min(pattern.find(s) for s in "*?" if s in pattern) < PREFIX:
        raise ValueError(f"a pattern to delete by begins with at least {PREFIX} characters that are no * and no ?")
    return pattern


def stored(key: bytes) -> str:
    """Return a key as ASCII text that `restored` reads back."""
    return quote_from_bytes(key, safe=_PLAIN)


def restored(text: str) -> bytes:
    """Return the key that `stored` wrote."""
    return unquote_to_bytes(text)


def shown(key: bytes) -> str:
    """Return a key for people, cut where it is long."""
    text = key.decode(errors="backslashreplace")
    safe = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[:_SHOWN_CHARACTERS])
    return safe if len(text) <= _SHOWN_CHARACTERS else f"{safe}..."
