"""Asks Alertmanager about many alerts in a bounded time: a source that does not answer is not asked again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from hdr_responder.domain.alerts import AlertEvent, Occurrence, Presence

A = TypeVar("A", AlertEvent, Occurrence)

AT_ONCE = 8
MAX_ASKED = 400
"""Alerts of one source that are asked about at a time; what is beyond stays unknown."""


async def ask_about(alerts: Sequence[A], ask: Callable[[A], Awaitable[Presence]]) -> list[Presence]:
    """Return each alert's present state, in order; UNKNOWN where a source gave no answer or there are too many."""
    by_source: dict[str, list[int]] = {}
    for index, alert in enumerate(alerts):
        by_source.setdefault(alert.source, []).append(index)
    answers = [Presence.UNKNOWN] * len(alerts)
    for indices in by_source.values():
        for start in range(0, min(len(indices), MAX_ASKED), AT_ONCE):
            asked = indices[start : start + AT_ONCE]
            found = await asyncio.gather(*(ask(alerts[i]) for i in asked))
            for i, presence in zip(asked, found, strict=True):
                answers[i] = presence
            if Presence.UNKNOWN in found:
                break
    return answers
