"""Gives a container more CPU or memory (vertical scaling, manual S23), or less where the playbook says so.

How much a container uses now is not known here. Less than it uses, or a limit where there was none, may end it (out of
memory) or slow it down, so both need ``lower: true``. Whether a node has the room is not known either: a pod that fits
nowhere stays pending under the workload's own update strategy, which ``kubernetes.rollout_status`` shows.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, model_validator

from hdr_responder.actions.contract import Parameters, Result
from hdr_responder.actions.kubernetes.amounts import Amount, parse_amount, same_amount
from hdr_responder.actions.kubernetes.container_settings import (
    ContainerParameters,
    ContainerSettings,
    Setting,
    SettingsChange,
)
from hdr_responder.actions.kubernetes.marks import add
from hdr_responder.domain.ports.kubernetes import ContainerTemplate, JsonPatch
from hdr_responder.errors import ConflictError

RESOURCES = ("cpu", "memory")


class Amounts(Parameters):
    """Amounts by resource; those left out stay as they are."""

    cpu: Amount | None = Field(default=None, description="Cores (2, 500m).")
    memory: Amount | None = Field(default=None, description="Bytes (4Gi, 512Mi).")


class SetResourcesParameters(ContainerParameters):
    """How much the container requests and may use."""

    requests: Amounts = Field(default=Amounts(), description="What a node sets aside for each pod.")
    limits: Amounts = Field(default=Amounts(), description="What a container may use at most.")
    lower: bool = Field(
        default=False, description="Lets amounts shrink and limits appear, which may end what uses more than that now."
    )

    @model_validator(mode="after")
    def _something(self) -> SetResourcesParameters:
        if not settings_of(self):
            raise ValueError("give an amount of cpu or memory in requests or limits")
        return self


class SetResourcesResult(Result):
    """What was set."""

    container: str
    changes: list[str] = Field(description="Such as 'memory limit: 4Gi -> 8Gi'; empty: no pod restarts.")
    lowered: list[str] = Field(description="Those of them that shrank or that appeared as a limit.")
    summary: str


class SetResources(ContainerSettings[SetResourcesParameters, SetResourcesResult]):
    """Sets requests and limits; the pods are replaced under the workload's own update strategy."""

    name = "kubernetes.set_resources"
    summary = "Set how much CPU and memory a container requests and may use; its pods restart."
    example = """\
id: grow
action: kubernetes.set_resources
with:
  workload: "${params.workload}"
  requests: {memory: 4Gi}
  limits: {memory: 8Gi}
"""
    parameters = SetResourcesParameters
    result = SetResourcesResult
    reason = "ResourcesSet"

    def wanted(self, params: SetResourcesParameters) -> dict[str, str]:
        """Return the amounts as ``limits/memory``."""
        return settings_of(params)

    def present(self, container: ContainerTemplate) -> Mapping[str, str]:
        """Return the amounts as ``limits/memory``."""
        return {
            f"{kind}/{resource}": amounts[resource]
            for kind, amounts in (("requests", container.requests), ("limits", container.limits))
            for resource in RESOURCES
            if resource in amounts
        }

    def same(self, one: str, other: str) -> bool:
        """Compare by what is meant."""
        return same_amount(one, other)

    def refuse(
        self, params: SetResourcesParameters, container: ContainerTemplate, changes: tuple[Setting, ...]
    ) -> None:
        """Refuse to lower anything unless the playbook says so."""
        lowered = [_told(each) for each in changes if _lowers(each)]
        if lowered and not params.lower:
            raise ConflictError(
                f"container {container.name} of {params.workload} would get less ({', '.join(lowered)}), and how much"
                " it uses is not known here: say lower: true if that is meant"
            )

    def write(self, where: str, container: ContainerTemplate, values: Mapping[str, str | None]) -> JsonPatch:
        """Set amounts, in maps that are made where they are missing, and take others away."""
        there = self.present(container)
        kinds = {name.partition("/")[0] for name, value in values.items() if value is not None}
        missing = sorted(kind for kind in kinds if not getattr(container, kind))
        below = f"{where}/resources"
        bare = not (container.requests or container.limits or "resources" in container.other)
        return [
            *([add(below, {})] if bare and missing else []),
            *(add(f"{below}/{kind}", {}) for kind in missing),
            *(add(f"{below}/{name}", value) for name, value in values.items() if value is not None),
            *(
                {"op": "remove", "path": f"{below}/{name}"}
                for name, value in values.items()
                if value is None and name in there
            ),
        ]

    def outcome(self, params: SetResourcesParameters, made: SettingsChange) -> SetResourcesResult:
        """Return the amounts before and after."""
        del params
        changes = [_told(each) for each in made.settings]
        lowered = [_told(each) for each in made.settings if _lowers(each)]
        summary = f"container {made.container}: {', '.join(changes)}" if changes else "nothing to set"
        warning = "; lowered without knowing how much it uses" if lowered else ""
        return SetResourcesResult(container=made.container, changes=changes, lowered=lowered, summary=summary + warning)

    def told(self, made: SettingsChange, *, undone: bool) -> str:
        """Tell the amounts."""
        changes = ", ".join(_told(each, backwards=undone) for each in made.settings) or "nothing"
        return f"{'put back' if undone else 'set'} resources of container {made.container} ({changes})"


def settings_of(params: SetResourcesParameters) -> dict[str, str]:
    """Return the amounts that are asked for, as ``limits/memory``."""
    asked = (("requests", params.requests), ("limits", params.limits))
    named = {f"{kind}/{resource}": getattr(amounts, resource) for kind, amounts in asked for resource in RESOURCES}
    return {name: str(amount) for name, amount in named.items() if amount is not None}


def _lowers(setting: Setting) -> bool:
    if setting.before is None:
        return setting.name.startswith("limits/")
    before, after = parse_amount(setting.before), parse_amount(setting.after)
    return before is None or after is None or after < before


def _told(setting: Setting, *, backwards: bool = False) -> str:
    kind, _, resource = setting.name.partition("/")
    before, after = setting.before or "none", setting.after
    if backwards:
        before, after = after, before
    return f"{resource} {kind.removesuffix('s')}: {before} -> {after}"
