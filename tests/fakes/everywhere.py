"""Every namespace is listed: for tests of what comes after that question."""

from __future__ import annotations


class Everywhere:
    """Holds every name."""

    def __contains__(self, name: object) -> bool:
        return True


EVERYWHERE = Everywhere()
