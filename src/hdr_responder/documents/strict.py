"""The base of every document's model: unknown keys are errors and nothing is guessed from a value of another kind."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StrictBool, StrictFloat, StrictInt, Tag

from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.workloads import Workload

API_VERSION = "hdr-responder/v1"


class Strict(BaseModel):
    """A frozen part of a document."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


class Document(Strict):
    """A whole document; `kind` says which."""

    api_version: Literal["hdr-responder/v1"] = Field(alias="apiVersion")


Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""A name as Kubernetes spells them: lower case, digits, dashes."""

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
"""A name that expressions can spell (``steps.<id>``, ``params.<name>``): no dashes."""

Text = Annotated[str, Field(min_length=1, max_length=2000)]
Scalar = StrictBool | StrictInt | StrictFloat | str
Environment = Literal["development", "staging", "production"]
Priorities = Annotated[tuple[Priority, ...], Field(min_length=1)]


_NAMESPACE, _OBJECT = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"
_WORKLOAD = rf"^({_NAMESPACE}/)?(deployment|statefulset|daemonset)/{_OBJECT}$"
WorkloadText = Annotated[str, Field(pattern=_WORKLOAD)]
"""A workload as documents write it: ``deployment/neural-hdr``, with its namespace in front where it differs."""


def workload_from(text: str, *, cluster: str, namespace: str) -> Workload:
    """Return the workload that a `WorkloadText` names; ``namespace`` counts where the text has none.

    Raises ValueError when the text is none.
    """
    parts = text.split("/")
    if not re.fullmatch(_WORKLOAD, text):
        raise ValueError(f"{text[:80]!r} is no workload; expected for example deployment/neural-hdr")
    return Workload.model_validate(
        {
            "cluster": cluster,
            "namespace": parts[-3] if len(parts) == 3 else namespace,
            "kind": parts[-2],
            "name": parts[-1],
        }
    )


def _shape(value: object) -> str:
    nested = isinstance(value, list | tuple) and any(isinstance(v, list | tuple) for v in value)
    return "any" if nested else "all"


_Matchers = Annotated[tuple[str, ...], Field(min_length=1)]
MatchList = Annotated[
    Annotated[_Matchers, Tag("all")] | Annotated[Annotated[tuple[_Matchers, ...], Field(min_length=1)], Tag("any")],
    Discriminator(_shape),
]
"""Alertmanager matchers: a list (all must hold) or a list of lists (any of them)."""
