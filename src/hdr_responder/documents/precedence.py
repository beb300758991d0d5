"""Which of several playbooks an alert starts: the first that matches, so that a later one may never be it.

A playbook is looked up among the earlier ones by the values of its matchers: a thousand playbooks are not compared
each with each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.domain.matchers import Matcher, MatcherSet

_Key = tuple[str, str] | None


class Precedence:
    """The playbooks that come first."""

    def __init__(self) -> None:
        self._alike: dict[object, list[CompiledPlaybook]] = defaultdict(list)
        self._by_value: dict[_Key, list[tuple[int, CompiledPlaybook]]] = defaultdict(list)
        self._count = 0

    def add(self, playbook: CompiledPlaybook) -> str | None:
        """Put a playbook behind the others; return what keeps it from ever being chosen, None where nothing does."""
        matchers = playbook.matchers
        if matchers is None:
            return None
        told = self._twin(playbook, matchers) or self._wider(playbook, matchers)
        self._remember(playbook, matchers)
        return told

    def _twin(self, playbook: CompiledPlaybook, matchers: MatcherSet) -> str | None:
        for other in self._alike[_sameness(matchers)]:
            shared = _shared(playbook, other)
            if shared:
                also = "" if _covers(other, playbook) else f" at {shared}"
                return f"matches the same alerts as playbook {other.name!r}; only the first would run{also}"
        return None

    def _wider(self, playbook: CompiledPlaybook, matchers: MatcherSet) -> str | None:
        candidates = {at: other for key in _narrow_keys(matchers) for at, other in self._by_value[key]}
        for _, other in sorted(candidates.items(), key=lambda each: each[0]):
            if other.matchers and _covers(other, playbook) and other.matchers.covers(matchers):
                return f"no alert ever starts it: playbook {other.name!r} comes first and matches all that it does"
        return None

    def _remember(self, playbook: CompiledPlaybook, matchers: MatcherSet) -> None:
        self._alike[_sameness(matchers)].append(playbook)
        for key in {key for every in matchers.alternatives for key in _wide_keys(every)}:
            self._by_value[key].append((self._count, playbook))
        self._count += 1


def _sameness(matchers: MatcherSet) -> object:
    return frozenset(frozenset(every) for every in matchers.alternatives)


def _wide_keys(every: tuple[Matcher, ...]) -> Iterator[_Key]:
    """Return where an alternative is found: at each value of its first closed matcher, else by everybody."""
    for matcher in every:
        values = matcher.closed_values()
        if values:
            yield from ((matcher.name, value) for value in values)
            return
    yield None


def _narrow_keys(matchers: MatcherSet) -> Iterator[_Key]:
    """Return where alternatives that are wider than one of these can be found.

    A closed matcher is implied by a closed one alone, whose values then are all among its own.
    """
    yield None
    for matcher in matchers.alternatives[0]:
        values = matcher.closed_values()
        if values:
            yield matcher.name, values[0]


def _covers(first: CompiledPlaybook, then: CompiledPlaybook) -> bool:
    """Tell whether the first is for every priority and environment that the other is for."""
    priorities = set(then.model.priorities or ()) <= set(first.model.priorities or ())
    here, there = first.model.environments, then.model.environments
    return priorities and (here is None or (there is not None and set(there) <= set(here)))


def _shared(one: CompiledPlaybook, other: CompiledPlaybook) -> str:
    """Return the priorities that both are for in a common environment; empty when there are none."""
    places = (set(p.model.environments) for p in (one, other) if p.model.environments is not None)
    here = list(places)
    if len(here) == 2 and not here[0] & here[1]:
        return ""
    return ", ".join(sorted(set(one.model.priorities or ()) & set(other.model.priorities or ())))
