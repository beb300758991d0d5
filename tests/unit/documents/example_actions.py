"""Small real actions that the document tests load playbooks with."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from hdr_responder.actions.contract import (
    Check,
    Mutation,
    Observed,
    Parameters,
    Permission,
    Read,
    Registry,
    Result,
    Seen,
    State,
    StepContext,
    Target,
    Undo,
    Verdict,
)
from hdr_responder.domain.durations import Duration
from hdr_responder.domain.workloads import Workload


class OnWorkload(Parameters):
    shorthand: ClassVar[str | None] = "workload"

    workload: Workload


class LogsParameters(OnWorkload):
    tail: Annotated[int, Field(ge=1, le=1000)] = 100
    grep: str | None = None
    level: Literal["debug", "info", "error"] = "error"
    since: Duration = timedelta(minutes=5)


class LogsResult(Result):
    lines: int
    artifacts: list[str]


class Logs(Read[LogsParameters, LogsResult]):
    name = "kubernetes.logs"
    summary = "Keeps log lines."
    example = "{id: logs, action: kubernetes.logs, with: '${params.workload}'}"
    parameters = LogsParameters
    result = LogsResult

    def permissions(self, params: LogsParameters) -> tuple[Permission, ...]:
        return ()

    async def execute(self, ctx: StepContext, params: LogsParameters) -> LogsResult:
        return LogsResult(lines=params.tail, artifacts=[])


class Revision(Result):
    number: int
    at: datetime


class Pod(Result):
    name: str
    restarts: int
    age: Duration


class ReleaseResult(Result):
    age: Duration | None
    ratio: float | None
    previous: Revision | None
    pods: tuple[Pod, ...] = ()


class LastRelease(Read[OnWorkload, ReleaseResult]):
    name = "kubernetes.last_release"
    summary = "Finds the newest release."
    example = "{id: release, action: kubernetes.last_release, with: '${params.workload}'}"
    parameters = OnWorkload
    result = ReleaseResult

    def permissions(self, params: OnWorkload) -> tuple[Permission, ...]:
        return ()

    async def execute(self, ctx: StepContext, params: OnWorkload) -> ReleaseResult:
        return ReleaseResult(age=None, ratio=None, previous=None)


class RestartResult(Result):
    revision: int


class RolloutRestart(Mutation[OnWorkload, RestartResult]):
    name = "kubernetes.rollout_restart"
    summary = "Restarts a workload."
    example = "{id: restart, action: kubernetes.rollout_restart, with: '${params.workload}'}"
    parameters = OnWorkload
    result = RestartResult
    undoable = Undo.RESTORES
    holds_fence = True
    destructive = False
    effect_group = "restart"
    default_timeout_seconds = 90.0

    def permissions(self, params: OnWorkload) -> tuple[Permission, ...]:
        return ()

    def target(self, params: OnWorkload) -> Target:
        return Target(key=params.workload.key, effect_group=self.effect_group, title=str(params.workload))

    async def dry_run(self, ctx: StepContext, params: OnWorkload) -> None:
        del ctx, params

    async def capture(self, ctx: StepContext, params: OnWorkload) -> State:
        return {}

    async def execute(self, ctx: StepContext, params: OnWorkload, state: State) -> RestartResult:
        return RestartResult(revision=1)

    async def observe(self, ctx: StepContext, params: OnWorkload, state: State) -> Observed[RestartResult]:
        return Observed(seen=Seen.NO_EFFECT)


class TerminateParameters(Parameters):
    target: str
    pods: tuple[Pod, ...] = ()
    sql: str | None = Field(default=None, json_schema_extra={"literal": True})


class TerminateResult(Result):
    ended: int


class Terminate(Mutation[TerminateParameters, TerminateResult]):
    name = "postgres.terminate"
    summary = "Ends a session."
    example = "{id: end, action: postgres.terminate, with: {target: hdr_empire}, undo: none}"
    parameters = TerminateParameters
    result = TerminateResult
    undoable = Undo.NONE
    holds_fence = False
    destructive = True
    effect_group = "sessions"

    def permissions(self, params: TerminateParameters) -> tuple[Permission, ...]:
        return ()

    def target(self, params: TerminateParameters) -> Target:
        return Target(key=params.target, effect_group=self.effect_group, title=params.target)

    async def dry_run(self, ctx: StepContext, params: TerminateParameters) -> None:
        del ctx, params

    async def capture(self, ctx: StepContext, params: TerminateParameters) -> State:
        return {}

    async def execute(self, ctx: StepContext, params: TerminateParameters, state: State) -> TerminateResult:
        return TerminateResult(ended=1)

    async def observe(self, ctx: StepContext, params: TerminateParameters, state: State) -> Observed[TerminateResult]:
        return Observed(seen=Seen.UNKNOWN)


class EscalateParameters(Parameters):
    reason: str = "automation did not help"


class Nothing(Result):
    pass


class Escalate(Read[EscalateParameters, Nothing]):
    name = "incident.escalate"
    summary = "Pages a person."
    example = "{id: page, action: incident.escalate}"
    parameters = EscalateParameters
    result = Nothing

    def permissions(self, params: EscalateParameters) -> tuple[Permission, ...]:
        return ()

    async def execute(self, ctx: StepContext, params: EscalateParameters) -> Nothing:
        return Nothing()


class QueryParameters(Parameters):
    query: str
    args: dict[str, str] = Field(default_factory=dict)
    below: float

    @model_validator(mode="after")
    def _uses_its_args(self) -> Self:
        if unused := [name for name in self.args if f"${name}" not in self.query]:
            raise ValueError(f"the query does not use ${unused[0]}")
        return self


class PrometheusCheck(Check[QueryParameters]):
    name = "prometheus"
    summary = "A query stays below a value."
    example = "prometheus: {query: up, below: 1}"
    parameters = QueryParameters

    def permissions(self, params: QueryParameters) -> tuple[Permission, ...]:
        return ()

    async def evaluate(self, ctx: StepContext, params: QueryParameters) -> Verdict:
        return Verdict(holds=None, detail="not asked")


class AlertParameters(Parameters):
    shorthand: ClassVar[str | None] = "state"

    state: Literal["resolved"]


class AlertCheck(Check[AlertParameters]):
    name = "alert"
    summary = "The alert is over."
    example = "alert: resolved"
    parameters = AlertParameters
    is_health_probe = False

    def permissions(self, params: AlertParameters) -> tuple[Permission, ...]:
        return ()

    async def evaluate(self, ctx: StepContext, params: AlertParameters) -> Verdict:
        return Verdict(holds=None, detail="not asked")


def registry() -> Registry:
    """All of the above."""
    actions: tuple[Any, ...] = (Logs(), LastRelease(), RolloutRestart(), Terminate(), Escalate())
    return Registry(actions, (PrometheusCheck(), AlertCheck()))
