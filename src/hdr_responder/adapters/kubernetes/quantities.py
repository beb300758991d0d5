"""Reads the quantities of the Kubernetes API (``12345678n``, ``250m``, ``64Mi``, ``1e3``) as numbers."""

from __future__ import annotations

import re
from decimal import Decimal

_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:[eE]([+-]?[0-9]{1,3})|([a-zA-Z]{0,2}))")


def quantity(text: str) -> Decimal:
    """Return what a quantity means, in cores or bytes. Raises ValueError for a text that is none."""
    found = _QUANTITY.fullmatch(text) if len(text) <= 100 else None
    if found is None or (found[3] or "") not in _SUFFIXES:
        raise ValueError(f"{text[:40]!r} is no quantity")
    return Decimal(found[1]).scaleb(int(found[2])) if found[2] else Decimal(found[1]) * _SUFFIXES[found[3] or ""]
