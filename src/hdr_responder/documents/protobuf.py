"""Reads one thing out of a serialised CEL expression: which names it refers to.

The runtime has no call for it, and guessing by pattern would take a word inside a string for a name. The checked form
is a public protobuf message (``cel.expr.CheckedExpr``, its field 2 is the reference map), of which these few fields are
read here.
"""

from __future__ import annotations

from collections.abc import Iterator

_ANY_VALUE = 2
_REFERENCE_MAP = 2
_ENTRY_VALUE = 2
_REFERENCE_NAME = 1
_REFERENCE_OVERLOAD = 3


def referenced_names(checked: bytes) -> frozenset[str]:
    """Return the variables that a serialised checked expression (wrapped in ``google.protobuf.Any``) refers to."""
    names: set[str] = set()
    for message in _values(checked, _ANY_VALUE):
        for entry in _values(message, _REFERENCE_MAP):
            for reference in _values(entry, _ENTRY_VALUE):
                if not any(True for _ in _values(reference, _REFERENCE_OVERLOAD)):
                    names.update(name.decode() for name in _values(reference, _REFERENCE_NAME))
    return frozenset(names)


def _values(message: bytes, field: int) -> Iterator[bytes]:
    """Yield the length-delimited values of one field."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == 2:
            length, at = _varint(message, at)
            if number == field:
                yield message[at : at + length]
            at += length
        elif wire == 0:
            _, at = _varint(message, at)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"unexpected wire type {wire} in a checked expression")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
