"""Changes several objects in one step, where some may fail: each is tried, none is left out because of another.

Once one part is changed, a step can no longer say that nothing was changed. So what a part cannot do is returned, and
the step reports it, instead of being raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from hdr_responder.errors import AmbiguousError, FencedError, PermanentError, TemporaryError

TRIES = 3
"""How often a part is tried when the server asks to come back later."""
MAX_PAUSE_SECONDS = 5.0

Part = Callable[[], Awaitable[object]]
Problem = PermanentError | TemporaryError | AmbiguousError


async def change_each(parts: Mapping[str, Part]) -> dict[str, Problem]:
    """Do every part, and return those that failed with the reason.

    Raises FencedError at once: a newer worker goes on with the rest.
    """
    problems: dict[str, Problem] = {}
    for name, part in parts.items():
        problem = await _tried(part)
        if problem is not None:
            problems[name] = problem
    return problems


async def _tried(part: Part) -> Problem | None:
    for tries_left in reversed(range(TRIES)):
        try:
            await part()
        except FencedError:
            raise
        except TemporaryError as error:
            if not tries_left:
                return error
            await asyncio.sleep(min(error.retry_after or 1.0, MAX_PAUSE_SECONDS))
        except (PermanentError, AmbiguousError) as error:
            return error
        else:
            return None
    return None
