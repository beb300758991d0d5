"""How every mutation touches the cluster: claim the fence, then change under it, and never guess about lost answers.

Changes are written so that sending one twice is the same as sending it once (fixed values, tests on the values they
replace, the step's key on the object). So a lost answer is met by looking again, and a concurrent writer, such as a
controller that updates the status, costs a further attempt and nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from hdr_responder.actions.contract import Fence
from hdr_responder.actions.kubernetes.marks import (
    FENCE,
    METADATA_ANNOTATIONS,
    annotations_to_claim,
    claiming,
    pointer,
    test,
)
from hdr_responder.domain.ports.kubernetes import JsonPatch, KubernetesCluster, ObjectMeta
from hdr_responder.errors import AmbiguousError, ConflictError, FencedError, TemporaryError

ATTEMPTS = 8
"""Looks and patches until a busy object is given up; each takes some milliseconds, so no pause is made between them."""

UNANSWERED_ATTEMPTS = 3
"""Lost answers until the outcome is called ambiguous; each may have cost the whole call timeout."""


class HasMeta(Protocol):
    """Any object of the port."""

    @property
    def meta(self) -> ObjectMeta:
        """Its identity and annotations."""


T = TypeVar("T", bound=HasMeta)
Look = Callable[[], Awaitable[T]]


async def claim(cluster: KubernetesCluster, fence: Fence, look: Look[T]) -> T:
    """Raise ``fence`` on the object that ``look`` reads and return the object as it was seen.

    Raises FencedError when the object carries a newer fence, TemporaryError when it kept changing under every attempt.
    """
    for _ in range(ATTEMPTS):
        seen = await look()
        meta = seen.meta
        wanted = annotations_to_claim(meta.annotations, fence)
        if wanted is None:
            return seen
        try:
            await cluster.patch(meta.ref, claiming(meta, wanted))
        except (ConflictError, AmbiguousError):
            continue
        return seen
    raise TemporaryError(f"cluster {cluster.name}: {meta.ref} keeps changing, the fence could not be raised")


def require_fence(meta: ObjectMeta, fence: Fence, uid: str) -> None:
    """Raise FencedError when ``fence`` does not hold the object, ConflictError when it is not the object of ``uid``."""
    if meta.uid != uid:
        raise ConflictError(f"{meta.ref} was deleted and created anew since this step looked at it")
    held = meta.annotations.get(FENCE)
    if held != str(fence):
        raise FencedError(f"{meta.ref} carries the fence {held or 'of nobody'}, ours is {fence}")


async def change(
    cluster: KubernetesCluster, fence: Fence, uid: str, look: Look[T], build: Callable[[T], JsonPatch | None]
) -> T:
    """Apply the patch that ``build`` makes of the object seen, with fence and uid tested in the same request.

    ``build`` returns None when the change is there already, and raises when the object no longer allows it. Returns the
    object as it was seen last before the change (or with it).

    Raises FencedError, ConflictError, TemporaryError (provably nothing was changed) or AmbiguousError.
    """
    held = test(METADATA_ANNOTATIONS + pointer(FENCE), str(fence))
    unanswered: list[AmbiguousError] = []
    for _ in range(ATTEMPTS):
        try:
            seen = await look()
            require_fence(seen.meta, fence, uid)
            patch = build(seen)
            if patch is None:
                return seen
            if await _sent(cluster, seen.meta, [held, test("/metadata/uid", uid), *patch], unanswered):
                return seen
        except TemporaryError as e:
            if unanswered:
                raise unanswered[0] from e
            raise
        if len(unanswered) >= UNANSWERED_ATTEMPTS:
            break
    if unanswered:
        raise unanswered[0]
    raise TemporaryError(f"cluster {cluster.name}: the target keeps changing, nothing was changed")


async def _sent(
    cluster: KubernetesCluster, meta: ObjectMeta, patch: JsonPatch, unanswered: list[AmbiguousError]
) -> bool:
    """Send a patch; False when another look is needed, since the object moved or the answer was lost."""
    try:
        await cluster.patch(meta.ref, patch)
    except ConflictError:
        return False
    except AmbiguousError as e:
        unanswered.append(e)
        return False
    return True
