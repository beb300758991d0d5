"""Text for Slack: everything from outside is escaped here, and nothing is longer than Slack takes.

Slack reads ``&``, ``<`` and ``>`` as control characters: an unescaped alert label could ping ``<!channel>`` or pretend
to be a link (Slack contract).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from hdr_responder.records.presentation import ELLIPSIS, is_web_address, moment

Block = dict[str, Any]

HEADER_LIMIT = 150
SECTION_LIMIT = 3000
FIELD_LIMIT = 400
FIELDS_LIMIT = 10
BUTTON_LIMIT = 75
MESSAGE_LIMIT = 3900
"""Slack takes 40,000 characters when posting, but only 4,000 when updating."""

_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_UNESCAPES = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))
_URL_ESCAPES = {ord("|"): "%7C", ord("<"): "%3C", ord(">"): "%3E", ord(" "): "%20", ord("&"): "&amp;"}


def escape(text: str) -> str:
    """Return outside text so that Slack shows it as it is."""
    return "".join(_ESCAPES.get(c, c) for c in text)


def unescape(text: str) -> str:
    """Return what a person typed: Slack escapes the text of messages."""
    for entity, character in _UNESCAPES:
        text = text.replace(entity, character)
    return text


def fit(text: str, limit: int) -> str:
    """Return outside text escaped, in at most ``limit`` characters; a cut is visible and splits no entity."""
    escaped = escape(text)
    if len(escaped) <= limit:
        return escaped
    kept: list[str] = []
    left = limit - len(ELLIPSIS)
    for character in text:
        entity = _ESCAPES.get(character, character)
        if len(entity) > left:
            break
        kept.append(entity)
        left -= len(entity)
    return "".join(kept) + ELLIPSIS


def lines(escaped: Iterable[str], limit: int = SECTION_LIMIT) -> str:
    """Join lines that are already escaped, leaving out whole lines (visibly) where they would not fit.

    Each line must be shorter than ``limit``.
    """
    kept: list[str] = []
    left = limit - len(ELLIPSIS) - 1
    for line in escaped:
        if len(line) + 1 > left:
            kept.append(ELLIPSIS)
            break
        kept.append(line)
        left -= len(line) + 1
    return "\n".join(kept)


def link(url: str, label: str) -> str:
    """Return a link, or the label alone when the address is not one that people can open."""
    return f"<{url.translate(_URL_ESCAPES)}|{escape(label)}>" if is_web_address(url) else escape(label)


def when(at: datetime) -> str:
    """Return a time that Slack shows in its reader's zone; UTC where it cannot."""
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time_secs}}|{moment(at)}>"


def header(text: str) -> Block:
    """Return a header block."""
    return {"type": "header", "text": plain(text, HEADER_LIMIT)}


def section(escaped: str) -> Block:
    """Return a section of marked-up text that is already escaped."""
    return {"type": "section", "text": marked_up(escaped)}


def fields(entries: Iterable[tuple[str, str]]) -> Block:
    """Return a section of names and values in two columns; the values are already escaped."""
    shown = [marked_up(f"*{name}*\n{value}") for name, value in entries]
    return {"type": "section", "fields": shown[:FIELDS_LIMIT]}


def context(escaped: str) -> Block:
    """Return a line of small print that is already escaped."""
    return {"type": "context", "elements": [marked_up(escaped)]}


def marked_up(escaped: str) -> Block:
    """Return a text object; ``verbatim`` keeps Slack from making links and names of what it holds."""
    return {"type": "mrkdwn", "text": escaped, "verbatim": True}


def plain(text: str, limit: int) -> Block:
    """Return a text object without markup."""
    return {"type": "plain_text", "text": fit(text, limit), "emoji": True}
