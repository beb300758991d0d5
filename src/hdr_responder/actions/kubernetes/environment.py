"""Sets environment variables of a container to plain values, as an operator tunes a service (``WORKER_THREADS=8``).

Playbooks and plans are read by many, and so is the pod template. So a secret has no place here: names and values that
look like one are refused, and what results and Events tell are names alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue

from hdr_responder.actions.contract import Result
from hdr_responder.actions.kubernetes.container_settings import (
    ContainerParameters,
    ContainerSettings,
    Setting,
    SettingsChange,
)
from hdr_responder.actions.kubernetes.marks import add, replace
from hdr_responder.domain.ports.kubernetes import ContainerTemplate, JsonPatch
from hdr_responder.errors import ConflictError

NAME = "^[-._a-zA-Z][-._a-zA-Z0-9]*$"
"""What Kubernetes takes as the name of a variable everywhere."""

FILLED_IN = "\0filled in"
REPEATED = "\0repeated"
"""Stand for what is no plain value; no plain value begins like this."""

MOST = 20
LONGEST = 1000

_SECRET_NAME = re.compile(
    r"passw(or)?d|passphrase|pwd$|secret|credential|token(?![a-z])|(private|api|access|signing|auth|encryption)_?key",
    re.IGNORECASE,
)
_BELONGS_ELSEWHERE = "looks like a secret: keep it in a Secret and let the container take it from there"
_SECRET_VALUE = re.compile(r"://[^/@\s]*:[^/@\s]+@|-----BEGIN ")


def _without_secrets(values: object) -> object:
    """Refuse names of secrets, whatever their values are and whether these are known yet."""
    found = [str(name) for name in values if _SECRET_NAME.search(str(name))] if isinstance(values, dict) else []
    if found:
        raise ValueError(f"{', '.join(found)[:100]} {_BELONGS_ELSEWHERE}")
    return values


def _as_text(value: object) -> object:
    """Write what YAML reads as a number or a bool the way it was meant: every value of an environment is text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value


def _literal(value: str | int | bool) -> str:
    """Refuse what would not arrive as written, or should not stand in a playbook.

    Kubernetes replaces ``$(NAME)`` by another variable, which may be a secret, and ``$$`` by ``$``.
    """
    text = str(value)
    if len(text) > LONGEST:
        raise ValueError(f"at most {LONGEST} characters")
    if not text.isprintable():
        raise ValueError("control characters and line breaks are not taken")
    if "$(" in text or "$$" in text:
        raise ValueError("$( and $$ are not taken: the cluster would replace them")
    if _SECRET_VALUE.search(text):
        raise ValueError(f"this {_BELONGS_ELSEWHERE}")
    return text


Name = Annotated[str, Field(max_length=253, pattern=NAME)]
Value = Annotated[str | int | bool, BeforeValidator(_as_text), AfterValidator(_literal)]


class SetEnvParameters(ContainerParameters):
    """Which variables to set."""

    values: Annotated[dict[Name, Value], BeforeValidator(_without_secrets)] = Field(
        min_length=1,
        max_length=MOST,
        description="Plain values by name. They are shown in plans and stand in the pod template: no secrets.",
    )


class SetEnvResult(Result):
    """What was set; values are not told."""

    container: str
    changed: list[str] = Field(
        description="Names of the variables that have another value now; empty: no pod restarts."
    )
    unchanged: list[str] = Field(description="Names of those that had their value already.")
    summary: str


class SetEnv(ContainerSettings[SetEnvParameters, SetEnvResult]):
    """Sets variables; the pods are replaced under the workload's own update strategy."""

    name = "kubernetes.set_env"
    summary = "Set environment variables of a container to plain values; its pods restart."
    example = """\
id: threads
action: kubernetes.set_env
with:
  workload: "${params.workload}"
  values: {WORKER_THREADS: "8"}
"""
    parameters = SetEnvParameters
    result = SetEnvResult
    reason = "EnvironmentSet"

    def wanted(self, params: SetEnvParameters) -> dict[str, str]:
        """Return the variables."""
        return {name: str(value) for name, value in params.values.items()}

    def present(self, container: ContainerTemplate) -> Mapping[str, str]:
        """Return the variables; one without a plain value of its own has a value that no step ever decided on."""
        names = Counter(each.name for each in container.environment)
        return {
            each.name: FILLED_IN if each.value is None else REPEATED if names[each.name] > 1 else each.value
            for each in container.environment
        }

    def same(self, one: str, other: str) -> bool:
        """Compare to the letter."""
        return one == other

    def refuse(self, params: SetEnvParameters, container: ContainerTemplate, changes: tuple[Setting, ...]) -> None:
        """Refuse variables that come from elsewhere, stand there more than once, or hold a secret now."""
        where = f"container {container.name} of {params.workload}"
        for each in changes:
            if each.before == FILLED_IN:
                raise ConflictError(f"{where} takes {each.name} from elsewhere (valueFrom): change it there")
            if each.before == REPEATED:
                raise ConflictError(f"{where} has {each.name} more than once: which one counts is not clear")
            if each.before is not None and _SECRET_VALUE.search(each.before):
                raise ConflictError(
                    f"{where} holds what looks like a secret in {each.name}: it is not remembered for undo"
                )

    def write(self, where: str, container: ContainerTemplate, values: Mapping[str, str | None]) -> JsonPatch:
        """Replace values in their places, append new ones, and take others away from the end backwards."""
        places = {each.name: place for place, each in enumerate(container.environment)}
        there = {name: places[name] for name in values if name in places}
        entries: dict[str, JsonValue] = {name: {"name": name, "value": value} for name, value in values.items()}
        gone = sorted((place for name, place in there.items() if values[name] is None), reverse=True)
        new = [name for name, value in values.items() if value is not None and name not in there]
        return [
            *(replace(f"{where}/env/{at}", entries[name]) for name, at in there.items() if values[name] is not None),
            *({"op": "remove", "path": f"{where}/env/{place}"} for place in gone),
            *([add(f"{where}/env", [])] if new and not container.environment else []),
            *(add(f"{where}/env/-", entries[name]) for name in new),
        ]

    def outcome(self, params: SetEnvParameters, made: SettingsChange) -> SetEnvResult:
        """Return the names."""
        changed = [each.name for each in made.settings]
        unchanged = [name for name in params.values if name not in changed]
        summary = f"set {', '.join(changed)} of container {made.container}" if changed else "nothing to set"
        return SetEnvResult(
            container=made.container,
            changed=changed,
            unchanged=unchanged,
            summary=summary + (f"; {', '.join(unchanged)} had the value already" if unchanged else ""),
        )

    def told(self, made: SettingsChange, *, undone: bool) -> str:
        """Name the variables."""
        names = ", ".join(each.name for each in made.settings) or "nothing"
        return f"{'put back' if undone else 'set'} {names} in the environment of container {made.container}"
