"""The annotations that the responder leaves on objects, and the rules by which a run may raise its fence.

A fence on the target makes a worker that was frozen past its lease harmless: every change tests the fence in the same
request, and whoever takes the run over raises it first.

Within one run the greater token wins. Between runs tokens say nothing: the lock in PostgreSQL lets one run at a time
have a target, so a claim normally finds the fence of a run that has ended and replaces it. The exception is a worker of
an ended run that wakes up and claims late; it must not take the fence from the run that holds the target now. The
fences that were replaced are therefore remembered (the last few), and a run that was replaced comes back only with a
greater token than it had.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime

from pydantic import JsonValue

from hdr_responder.actions.contract import Fence
from hdr_responder.domain.ports.kubernetes import JsonPatch, ObjectMeta
from hdr_responder.domain.survey import HoldNote
from hdr_responder.errors import FencedError

FENCE = "hdr-responder.io/fence"
PAST_FENCES = "hdr-responder.io/past-fences"
STEP = "hdr-responder.io/step"
UNDONE = "hdr-responder.io/undone"
STOPPED = "hdr-responder.io/stopped"
"""The step that took all replicas away, and how many there were: ``<step key> <replicas>``."""
HOLD = "hdr-responder.io/hold"
"""Written by people; all others are ours."""
MANAGED_BY = "app.kubernetes.io/managed-by"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"

REMEMBERED_FENCES = 8

METADATA_ANNOTATIONS = "/metadata/annotations"


def parse_fence(text: str) -> Fence | None:
    """Read a fence annotation; None when it is not one (somebody else's value counts as no fence)."""
    run, _, token = text.strip().partition("/")
    try:
        return Fence(run_id=uuid.UUID(run), token=int(token))
    except ValueError:
        return None


def annotations_to_claim(found: Mapping[str, str], mine: Fence) -> dict[str, str] | None:
    """Return the annotations that raise ``mine`` on an object with annotations ``found``; None when it holds already.

    Raises FencedError when the object carries a newer token of the same run, or another run took it over meanwhile.
    """
    held = parse_fence(found.get(FENCE, ""))
    past = [fence for fence in map(parse_fence, found.get(PAST_FENCES, "").split(",")) if fence is not None]
    if held == mine:
        return None
    if held is not None and held.run_id == mine.run_id:
        if held.token > mine.token:
            raise FencedError(f"token {held.token} of run {mine.run_id} holds the target, ours is {mine.token}")
        return {FENCE: str(mine)}
    superseded = next((fence for fence in past if fence.run_id == mine.run_id), None)
    if superseded is not None and superseded.token >= mine.token:
        raise FencedError(f"run {mine.run_id} lost the target to run {held.run_id if held else 'unknown'} meanwhile")
    if held is None:
        return {FENCE: str(mine)}
    remembered = [held, *(fence for fence in past if fence.run_id not in {held.run_id, mine.run_id})]
    return {FENCE: str(mine), PAST_FENCES: ",".join(map(str, remembered[:REMEMBERED_FENCES]))}


def parse_hold(text: str) -> HoldNote:
    """Read the annotation that keeps automation away: a reason, or until when (RFC 3339), or both in that order.

    What is no time, or one without an offset, is part of the reason: then it holds until it is removed.
    """
    first, _, rest = text.strip().partition(" ")
    try:
        until = datetime.fromisoformat(first)
    except ValueError:
        until = None
    if until is None or until.tzinfo is None:
        return HoldNote(reason=text.strip())
    return HoldNote(reason=rest.strip(), until=until)


def pointer(*keys: str) -> str:
    """Return the JSON pointer (RFC 6901) of nested keys."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)


def test(path: str, value: JsonValue) -> dict[str, JsonValue]:
    """Return the operation that fails the whole patch unless ``path`` holds ``value``."""
    return {"op": "test", "path": path, "value": value}


def add(path: str, value: JsonValue) -> dict[str, JsonValue]:
    """Return the operation that sets ``path``, which may exist already."""
    return {"op": "add", "path": path, "value": value}


def remove(path: str) -> dict[str, JsonValue]:
    """Return the operation that takes ``path`` away, which must exist."""
    return {"op": "remove", "path": path}


def replace(path: str, value: JsonValue) -> dict[str, JsonValue]:
    """Return the operation that sets ``path``, which must exist."""
    return {"op": "replace", "path": path, "value": value}


def annotate(parent: str, found: Mapping[str, str] | None, wanted: Mapping[str, str]) -> JsonPatch:
    """Return operations that set annotations below ``parent`` and keep all others.

    A missing map is made only while it is missing still: one that appeared meanwhile would be replaced. The API server
    takes ``test`` for null as "absent".
    """
    if found:
        return [add(parent + pointer(key), value) for key, value in wanted.items()]
    return [test(parent, None), add(parent, dict(wanted))]


def claiming(meta: ObjectMeta, wanted: Mapping[str, str]) -> JsonPatch:
    """Return the patch that writes ``wanted`` on exactly this object while the fence is still the one that was seen."""
    seen = [test(METADATA_ANNOTATIONS + pointer(FENCE), meta.annotations.get(FENCE))] if meta.annotations else []
    return [test("/metadata/uid", meta.uid), *seen, *annotate(METADATA_ANNOTATIONS, meta.annotations, wanted)]
