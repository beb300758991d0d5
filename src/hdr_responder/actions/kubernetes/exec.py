"""Reads what only the inside of a container tells, by a closed list of commands (manual C4: the process list)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from hdr_responder.actions.contract import Parameters, Permission, Read, Result, StepContext
from hdr_responder.actions.kubernetes.choosing import ContainerName, PodName, pod_named, pods_of, worst_first
from hdr_responder.actions.kubernetes.commands import COMMANDS, Command, CommandName
from hdr_responder.actions.kubernetes.rights import rights, workload_rights
from hdr_responder.domain.ports.kubernetes import CommandOutput, ContainerCommand, KubernetesCluster, PodState
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import ConflictError, NotFoundError, PermanentError

MAX_BYTES = 256 * 1024
SECONDS = 30.0
SHOWN_ERROR = 200
NOT_STARTED = frozenset({126, 127})
"""Exit codes by which container runtimes and shells tell that a program is missing or cannot be run."""


class ExecParameters(Parameters):
    """What to look at, and where."""

    workload: Workload
    command: CommandName = Field(
        description="processes (ps), disk_usage (df), open_connections (TCP, from /proc/net) or environment_names"
        " (env, values left out)."
    )
    pod: PodName | None = Field(
        default=None, description="A pod of the workload; without it the one worst off of those that run."
    )
    container: ContainerName | None = Field(
        default=None, description="A container of the pod; without it the one that kubectl takes."
    )


class ExecResult(Result):
    """What was kept."""

    pod: str
    container: str
    exit_code: int | None = Field(description="Null when the output was cut before the command ended.")
    lines: int = Field(description="Lines kept: processes and file systems with their heading, connections, names.")
    cut: bool = Field(description="Whether there was more than 256 KiB.")
    artifact: str = Field(description="Artifact id; empty when there was nothing to keep.")
    summary: str


class Exec(Read[ExecParameters, ExecResult]):
    """Runs one of the known commands in a container."""

    name = "kubernetes.exec"
    summary = "Keep a container's process list, disk usage, connections or names of environment variables."
    example = """\
id: processes
action: kubernetes.exec
with:
  workload: "${params.workload}"
  command: processes
"""
    parameters = ExecParameters
    result = ExecResult
    default_timeout_seconds: ClassVar[float] = 60.0

    def permissions(self, params: ExecParameters) -> tuple[Permission, ...]:
        """Return the rights to find the pod and run commands in it.

        The API server asks for ``get`` where a command comes over a WebSocket (seen on 1.34); from 1.35 on it asks for
        ``create`` as well (feature gate AuthorizePodWebsocketUpgradeCreatePermission).
        """
        workload = params.workload
        return (
            *workload_rights(workload, "get"),
            *rights(workload, "pods", "list"),
            *rights(workload, "pods/exec", "get"),
        )

    async def execute(self, ctx: StepContext, params: ExecParameters) -> ExecResult:
        """Run and keep; raises ConflictError when nothing runs to look into, PermanentError when the command cannot."""
        known = COMMANDS.get(params.command)
        if known is None:
            raise PermanentError("only commands of the list are run")
        cluster = ctx.systems.cluster(params.workload.cluster)
        state, container = _place(await pods_of(cluster, params.workload), params)
        output = await _run(cluster, state, container, known)
        lines = known.readable(output.stdout)
        if not output.stdout and output.exit_code:
            said = output.stderr.decode(errors="replace").strip()[:SHOWN_ERROR] if known.tells_errors else ""
            ended = f"{params.command} in {state.pod.name}/{container} ended with exit code {output.exit_code}"
            raise PermanentError(f"{ended}: {said}" if said else ended)
        name = f"{state.pod.name}.{container}.{params.command}.txt"
        content = "".join(f"{line}\n" for line in lines).encode()
        return ExecResult(
            pod=state.pod.name,
            container=container,
            exit_code=output.exit_code,
            lines=len(lines),
            cut=output.cut,
            artifact=await ctx.evidence.keep(name, "text/plain", content) if lines else "",
            summary=_told(params.command, state.pod.name, lines, output),
        )


async def _run(cluster: KubernetesCluster, state: PodState, container: str, known: Command) -> CommandOutput:
    """Run the command; where its program is missing, read the same in the other way, if there is one."""

    async def output_of(argv: tuple[str, ...]) -> CommandOutput:
        return await cluster.run_in_container(
            ContainerCommand(
                namespace=state.pod.namespace,
                pod=state.pod.name,
                container=container,
                argv=argv,
                max_bytes=MAX_BYTES,
                seconds=SECONDS,
            )
        )

    if not known.otherwise:
        return await output_of(known.argv)
    try:
        output = await output_of(known.argv)
    except PermanentError as error:
        if type(error) is not PermanentError:  # forbidden, gone: another program would change nothing
            raise
        return await output_of(known.otherwise)
    missing = output.exit_code in NOT_STARTED and not output.stdout
    return await output_of(known.otherwise) if missing else output


def _place(pods: Sequence[PodState], params: ExecParameters) -> tuple[PodState, str]:
    """Return the pod and its container to look into."""
    workload = params.workload
    if not pods:
        raise NotFoundError(f"{workload} has no pods in namespace {workload.namespace}")
    for state in [pod_named(pods, workload, params.pod)] if params.pod else worst_first(pods):
        container = params.container or state.default_container
        if any(each.name == container and each.state == "running" for each in state.containers):
            return state, container
    wanted = f"container {params.container}" if params.container else "container"
    raise ConflictError(f"no {wanted} of {params.pod or workload} runs, so nothing can be seen from inside")


def _told(command: CommandName, pod: str, lines: Sequence[str], output: CommandOutput) -> str:
    what = command.replace("_", " ")
    cut = ", cut at 256 KiB" if output.cut else ""
    failed = f", exit code {output.exit_code}" if output.exit_code else ""
    return f"{what} of {pod}: {len(lines)} lines{cut}{failed}"
