"""Amounts of CPU and memory as Kubernetes writes them (``500m``, ``2Gi``), compared by what they mean."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, Field

_SUFFIXES = {
    "m": Decimal("0.001"),
    "": Decimal(1),
    "k": Decimal(1000),
    "M": Decimal(1000**2),
    "G": Decimal(1000**3),
    "T": Decimal(1000**4),
    "Ki": Decimal(1024),
    "Mi": Decimal(1024**2),
    "Gi": Decimal(1024**3),
    "Ti": Decimal(1024**4),
}
_AMOUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(m|k|M|G|T|Ki|Mi|Gi|Ti|)")
_EXPONENT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)[eE]([+-]?[0-9]{1,2})")


def parse_amount(text: str) -> Decimal | None:
    """Return what an amount means, in cores or bytes; None for a text that is none."""
    found = _AMOUNT.fullmatch(text)
    if found:
        return Decimal(found[1]) * _SUFFIXES[found[2]]
    found = _EXPONENT.fullmatch(text)
    return Decimal(found[1]).scaleb(int(found[2])) if found else None


def same_amount(one: str, other: str) -> bool:
    """Tell whether two amounts mean the same (the API server writes ``2048Mi`` as ``2Gi``)."""
    return one == other or (parse_amount(one) is not None and parse_amount(one) == parse_amount(other))


def _positive(text: str) -> str:
    amount = parse_amount(text)
    if amount is None or amount <= 0:
        raise ValueError("not an amount of CPU (500m, 2) or memory (512Mi, 4Gi)")
    return text


Amount = Annotated[str, Field(max_length=30), AfterValidator(_positive)]
"""A field that documents write as ``500m`` or ``4Gi``."""
