"""What all facts about a target database are: values that nobody changes and that later steps may carry back to us."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Fact(BaseModel):
    """Base of the models that go through results and captured states."""

    model_config = ConfigDict(frozen=True, extra="forbid")
