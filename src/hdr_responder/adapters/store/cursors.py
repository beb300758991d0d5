"""Page cursors: the key of the last item shown, so that pages neither skip nor repeat while records are added."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from hdr_responder.domain.ports.records import MAX_PAGE, PageRequest
from hdr_responder.errors import InvalidInputError

K = TypeVar("K")

_LONGEST = 300


def encode(listing: str, *key: object) -> str:
    """Return an opaque cursor that `decode` takes for the same listing only."""
    text = json.dumps([listing, *(str(part) for part in key)], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def number(listing: str, cursor: str | None) -> int | None:
    """Return the id in a cursor of ``listing``; None without a cursor.

    Raises InvalidInputError (field "cursor") when it was not made for this listing.
    """
    return None if cursor is None else _decode(listing, cursor, _number)


def moment(listing: str, cursor: str | None) -> tuple[datetime, uuid.UUID] | tuple[None, None]:
    """Return the time and id in a cursor of ``listing``; raises as `number` does."""
    return (None, None) if cursor is None else _decode(listing, cursor, _moment)


def checked_limit(page: PageRequest) -> int:
    """Return the page's size.

    Raises InvalidInputError (field "limit") when it is not between 1 and `MAX_PAGE`.
    """
    if not 1 <= page.limit <= MAX_PAGE:
        raise InvalidInputError(f"expected 1 to {MAX_PAGE}, got {page.limit}", field="limit")
    return page.limit


def _decode(listing: str, cursor: str, read: Callable[[list[str]], K]) -> K:
    try:
        made_for, *key = json.loads(_bytes(cursor))
        return read(key if made_for == listing else [])
    except (ValueError, TypeError) as error:
        raise InvalidInputError("not a cursor of this listing; leave it out to start over", field="cursor") from error


def _bytes(cursor: str) -> bytes:
    if len(cursor) > _LONGEST:
        raise ValueError("too long")
    return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)


def _number(key: list[str]) -> int:
    (only,) = key
    found = int(only)
    if not 0 <= found < 2**63:
        raise ValueError("out of range")
    return found


def _moment(key: list[str]) -> tuple[datetime, uuid.UUID]:
    at, identity = key
    found = datetime.fromisoformat(at)
    if found.tzinfo is None:
        raise ValueError("without a zone")
    return found, uuid.UUID(identity)
