"""What a pod template says in the release sense, and what differs between two of them, in words for people.

A release is a change of the template other than the annotations that a restart or a run of ours leaves on it. So two
templates are one release when they are equal without these.

Values of environment variables are never told: one that was written as plain text may still be a secret.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from hdr_responder.actions.kubernetes.marks import RESTARTED_AT
from hdr_responder.domain.ports.kubernetes import ContainerTemplate, PodTemplate

OURS = "hdr-responder.io/"
"""Begins every annotation of a run."""

TOLD = 20
"""Differences that are told one by one."""


def fingerprint(template: PodTemplate) -> str:
    """Return a digest of the whole template."""
    return _digest(template.manifest)


def release_fingerprint(template: PodTemplate) -> str:
    """Return a digest that is the same for all templates of one release."""
    return _digest(
        [
            dict(template.labels),
            _lasting(template.annotations),
            [dataclasses.asdict(each) for each in template.containers],
            template.other,
        ]
    )


def differences(old: PodTemplate, new: PodTemplate) -> list[str]:
    """Tell what the newer template changes in the release sense, the images first; at most `TOLD` and a count."""
    found = [
        *_containers(old, new),
        *(f"label {key} {how}" for key, how in _named(old.labels, new.labels)),
        *(f"annotation {key} {how}" for key, how in _named(_lasting(old.annotations), _lasting(new.annotations))),
        *(f"{key} {how}" for key, how in _named(old.other, new.other)),
    ]
    found.sort(key=lambda each: not each.startswith("image "))
    return found if len(found) <= TOLD else [*found[:TOLD], f"and {len(found) - TOLD} more"]


def _containers(old: PodTemplate, new: PodTemplate) -> Iterator[str]:
    before = {each.name: each for each in old.containers}
    after = {each.name: each for each in new.containers}
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if now is None:
            yield f"container {name} removed"
        elif was is None:
            yield f"container {name} added (image {now.image})"
        else:
            yield from _container(was, now)


def _container(was: ContainerTemplate, now: ContainerTemplate) -> Iterator[str]:
    name = now.name
    if was.image != now.image:
        yield f"image {name}: {was.image} -> {now.image}"
    environment = _named(_environment(was), _environment(now))
    yield from (f"env {variable} of {name} {how}" for variable, how in environment)
    for kind, had, has in (("request", was.requests, now.requests), ("limit", was.limits, now.limits)):
        for resource, _ in _named(had, has):
            yield f"{resource} {kind} of {name}: {had.get(resource, 'none')} -> {has.get(resource, 'none')}"
    yield from (f"{field} of {name} {how}" for field, how in _named(was.other, now.other))
    if was.initial != now.initial:
        yield f"container {name} {'now' if now.initial else 'no longer'} runs before the others"


def _environment(container: ContainerTemplate) -> dict[str, object]:
    return {each.name: (each.value, each.source) for each in container.environment}


def _named(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the keys that differ with how they do."""
    return [(key, _how(key, old, new)) for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]


def _how(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if key not in old:
        return "added"
    return "changed" if key in new else "removed"


def _lasting(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return the annotations without those of restarts and runs."""
    return {key: value for key, value in annotations.items() if key != RESTARTED_AT and not key.startswith(OURS)}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
