"""What is read from inside containers. The simulated kubelet runs the commands on this machine, so the files, the
processes and the environment are those of the machine and of the kubelet's own process."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from hdr_responder.actions.kubernetes import exec as exec_module
from hdr_responder.actions.kubernetes.commands import COMMANDS, CommandName
from hdr_responder.actions.kubernetes.exec import Exec, ExecParameters
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.domain.ports.kubernetes import CommandOutput, ContainerCommand
from hdr_responder.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    PermanentError,
    UnavailableError,
)
from tests.fakes.everywhere import EVERYWHERE
from tests.integration.kubernetes.steps import CLUSTER, KeptEvidence, grant_for, responder, step, workload
from tests.services.kubernetes import ControlPlane

pytestmark = pytest.mark.service

ENDS = [(0, False), (None, True)]
"""A busy machine has more connections than are kept."""


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesAdapter]:
    adapter = responder(control_plane)
    yield adapter
    await adapter.close()


def arranged(control_plane: ControlPlane, namespace: str, **params: Any) -> ExecParameters:
    control_plane.api.create_deployment(namespace, "neural-hdr")
    given = ExecParameters(workload=workload(namespace), **{"command": "disk_usage", **params})
    grant_for(control_plane, Exec(), given)
    return given


def pod_of(control_plane: ControlPlane, namespace: str, name: str = "neural-hdr") -> str:
    (pod,) = control_plane.api.pods(namespace, f"app={name}")
    return str(pod["metadata"]["name"])


def asked(namespace: str, pod: str, *argv: str, max_bytes: int = 1000, seconds: float = 10.0) -> ContainerCommand:
    return ContainerCommand(
        namespace=namespace, pod=pod, container="app", argv=argv, max_bytes=max_bytes, seconds=seconds
    )


@pytest.mark.parametrize(
    ("command", "first"),
    [
        ("processes", "PID"),
        ("disk_usage", "Filesystem"),
        ("open_connections", ""),
        ("environment_names", ""),
    ],
)
async def test_every_command_is_kept(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, command: CommandName, first: str
) -> None:
    params = arranged(control_plane, namespace, command=command)
    evidence = KeptEvidence()
    result = await Exec().execute(step(cluster, evidence=evidence), params)
    pod = pod_of(control_plane, namespace)
    name, content = evidence.artifacts[result.artifact]
    lines = content.decode().splitlines()
    assert (result.pod, result.container) == (pod, "app")
    assert (result.exit_code, result.cut) in ENDS
    assert name == f"{pod}.app.{command}.txt"
    assert len(lines) == result.lines > 0
    assert lines[0].strip().startswith(first)
    assert result.summary.startswith(f"{command.replace('_', ' ')} of {pod}: {result.lines} lines")


def test_the_commands_are_those_that_are_tried() -> None:
    assert (
        set(COMMANDS)
        == set(get_args(CommandName))
        == {
            "processes",
            "disk_usage",
            "open_connections",
            "environment_names",
        }
    )


async def test_connections_show_those_of_the_api_server(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
) -> None:
    params = arranged(control_plane, namespace, command="open_connections")
    evidence = KeptEvidence()
    await Exec().execute(step(cluster, evidence=evidence), params)
    ((_, content),) = evidence.artifacts.values()
    port = control_plane.server.rpartition(":")[2]
    assert f"127.0.0.1:{port} 0.0.0.0:0 LISTEN\n" in content.decode()


async def test_environment_names_come_without_values(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
) -> None:
    params = arranged(control_plane, namespace, command="environment_names")
    evidence = KeptEvidence()
    await Exec().execute(step(cluster, evidence=evidence), params)
    ((_, content),) = evidence.artifacts.values()
    assert b"PATH\n" in content
    assert b"=" not in content
    assert b"/bin" not in content


async def test_a_pod_and_a_container_may_be_named(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
) -> None:
    params = arranged(control_plane, namespace)
    control_plane.api.create_deployment(namespace, "other")
    own, other = pod_of(control_plane, namespace), pod_of(control_plane, namespace, "other")
    result = await Exec().execute(step(cluster), params.model_copy(update={"pod": own, "container": "app"}))
    assert (result.pod, result.container) == (own, "app")
    for pod in (other, "no-such-pod"):
        with pytest.raises(NotFoundError, match=f"pod {pod} is none of deployment/neural-hdr"):
            await Exec().execute(step(cluster), params.model_copy(update={"pod": pod}))
    with pytest.raises(ConflictError, match="no container nothing of"):
        await Exec().execute(step(cluster), params.model_copy(update={"container": "nothing"}))


async def test_the_pod_that_is_worst_off_and_runs(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
) -> None:
    params = arranged(control_plane, namespace)
    control_plane.api.create_deployment(namespace, "other")
    control_plane.api.merge_patch(
        f"/apis/apps/v1/namespaces/{namespace}/deployments/neural-hdr", {"spec": {"replicas": 3}}
    )
    control_plane.api.wait_available(namespace, "neural-hdr")
    names = sorted(pod["metadata"]["name"] for pod in control_plane.api.pods(namespace, "app=neural-hdr"))
    for pod, behaviour in ((names[1], "crash"), (names[2], "never-ready")):
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}"
        control_plane.api.merge_patch(path, {"metadata": {"annotations": {"hdr-responder.test/behaviour": behaviour}}})
    control_plane.api.wait_pods(namespace, "app=neural-hdr", lambda pods: sum(map(_not_ready, pods)) == 2)
    assert (await Exec().execute(step(cluster), params)).pod == names[2]
    with pytest.raises(ConflictError, match=f"no container of {names[1]} runs"):
        await Exec().execute(step(cluster), params.model_copy(update={"pod": names[1]}))


def _not_ready(pod: Any) -> bool:
    return not all(status["ready"] for status in pod["status"]["containerStatuses"])


async def test_the_output_is_bounded(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = arranged(control_plane, namespace, command="processes")
    monkeypatch.setattr(exec_module, "MAX_BYTES", 50)
    evidence = KeptEvidence()
    result = await Exec().execute(step(cluster, evidence=evidence), params)
    assert (result.cut, result.exit_code) == (True, None)
    assert len(evidence.artifacts[result.artifact][1]) <= 51
    assert result.summary.endswith("cut at 256 KiB")


async def test_processes_of_an_image_without_ps(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = arranged(control_plane, namespace, command="processes")
    monkeypatch.setitem(COMMANDS, "processes", replace(COMMANDS["processes"], argv=("no-such-ps",)))
    evidence = KeptEvidence()
    result = await Exec().execute(step(cluster, evidence=evidence), params)
    assert (result.exit_code, result.cut) in ENDS
    ((_, content),) = evidence.artifacts.values()
    assert content.startswith(b"PID PPID UID COMMAND\n1 0 0 ")


async def test_a_program_that_is_missing_and_has_no_other_way(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = arranged(control_plane, namespace, command="processes")
    nothing = replace(COMMANDS["processes"], argv=("no-such-ps",), otherwise=("no-such-sh",))
    for known in (nothing, replace(nothing, otherwise=())):
        monkeypatch.setitem(COMMANDS, "processes", known)
        with pytest.raises(PermanentError, match="could not be run"):
            await Exec().execute(step(cluster), params)


class TestExitCodes:
    """The simulated kubelet tells no exit codes, so the ends of commands are given here as the adapter reads them."""

    @pytest.fixture
    def ends(self, cluster: KubernetesAdapter, monkeypatch: pytest.MonkeyPatch) -> dict[str, CommandOutput]:
        """What each program writes and how it ends; those that are run are noted by what is left."""
        given: dict[str, CommandOutput] = {}

        async def run(command: ContainerCommand) -> CommandOutput:
            return given.pop(command.argv[0])

        monkeypatch.setattr(cluster, "run_in_container", run)
        return given

    @pytest.mark.parametrize("code", [126, 127])
    async def test_by_which_runtimes_tell_that_a_program_is_missing(
        self,
        control_plane: ControlPlane,
        namespace: str,
        cluster: KubernetesAdapter,
        ends: dict[str, CommandOutput],
        code: int,
    ) -> None:
        params = arranged(control_plane, namespace, command="processes")
        ends |= {"ps": _end(code, stderr=b"not found"), "sh": _end(0, b"PID\n1 0 0 app\0\n")}
        result = await Exec().execute(step(cluster), params)
        assert (result.lines, result.exit_code, ends) == (2, 0, {})

    async def test_of_a_command_that_failed(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, ends: dict[str, CommandOutput]
    ) -> None:
        params = arranged(control_plane, namespace, command="processes")
        ends |= {"ps": _end(3, stderr=b"broken"), "sh": _end(0)}
        with pytest.raises(PermanentError, match="ended with exit code 3: broken"):
            await Exec().execute(step(cluster), params)
        assert list(ends) == ["sh"]

    async def test_of_one_that_told_what_there_is(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, ends: dict[str, CommandOutput]
    ) -> None:
        """A kernel without IPv6 has no second table; that nothing is connected is an answer all the same."""
        params = arranged(control_plane, namespace, command="open_connections")
        ends["cat"] = _end(1, b"  sl  local_address\n", b"cat: /proc/net/tcp6: No such file")
        result = await Exec().execute(step(cluster), params)
        assert (result.lines, result.artifact, result.exit_code) == (0, "", 1)

    async def test_of_one_whose_errors_could_repeat_values(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, ends: dict[str, CommandOutput]
    ) -> None:
        params = arranged(control_plane, namespace, command="environment_names")
        ends["env"] = _end(125, stderr=b"s3cret")
        with pytest.raises(PermanentError, match=r"ended with exit code 125$"):
            await Exec().execute(step(cluster), params)


def _end(code: int, stdout: bytes = b"", stderr: bytes = b"") -> CommandOutput:
    return CommandOutput(stdout=stdout, stderr=stderr, exit_code=code, cut=False)


class TestChannel:
    """The WebSocket itself, with other commands than actions may run."""

    async def test_what_a_command_writes(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        arranged(control_plane, namespace)
        command = asked(namespace, pod_of(control_plane, namespace), "sh", "-c", "echo 'a $HOME;b'; echo c >&2")
        output = await cluster.run_in_container(command)
        assert output == CommandOutput(stdout=b"a $HOME;b\n", stderr=b"c\n", exit_code=0, cut=False)

    async def test_an_endless_output_is_cut(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        arranged(control_plane, namespace)
        command = asked(namespace, pod_of(control_plane, namespace), "head", "-c", "1000000", "/dev/zero")
        output = await cluster.run_in_container(command)
        assert output == CommandOutput(stdout=bytes(1000), stderr=b"", exit_code=None, cut=True)

    async def test_a_command_that_takes_too_long(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        arranged(control_plane, namespace)
        command = asked(namespace, pod_of(control_plane, namespace), "sleep", "5", seconds=0.5)
        with pytest.raises(UnavailableError, match=r"not over within 0\.5 s"):
            await cluster.run_in_container(command)

    async def test_one_that_cannot_be_started(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        arranged(control_plane, namespace)
        command = asked(namespace, pod_of(control_plane, namespace), "no-such-program")
        with pytest.raises(PermanentError, match=r"could not be run: .*no-such-program"):
            await cluster.run_in_container(command)

    async def test_it_can_be_broken_off(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        arranged(control_plane, namespace)
        command = asked(namespace, pod_of(control_plane, namespace), "sleep", "5")
        running = asyncio.create_task(cluster.run_in_container(command))
        done, _ = await asyncio.wait([running], timeout=0.3)
        assert not done
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    async def test_a_pod_that_is_gone(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        arranged(control_plane, namespace)
        with pytest.raises(NotFoundError, match="get pods/exec gone in "):
            await cluster.run_in_container(asked(namespace, "gone", "df"))

    async def test_refusals_tell_no_token(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        with pytest.raises(ForbiddenError, match=r"not allowed to get pods/exec any .* create, too") as caught:
            await cluster.run_in_container(asked(namespace, "any", "df"))
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__

    async def test_credentials_that_are_not_accepted(
        self, control_plane: ControlPlane, namespace: str, tmp_path: Path
    ) -> None:
        """They are read again before the next command, since they may have been rotated meanwhile."""
        params = arranged(control_plane, namespace)
        good = control_plane.responder_kubeconfig.read_text()
        kubeconfig = tmp_path / "rotated.kubeconfig"
        kubeconfig.write_text(re.sub(r'"token": "\w+"', '"token": "worn-out"', good))
        adapter = KubernetesAdapter.connect(CLUSTER, kubeconfig, namespaces=EVERYWHERE)
        command = asked(params.workload.namespace, pod_of(control_plane, namespace), "echo", "in")
        try:
            with pytest.raises(ForbiddenError, match=r"credentials are not accepted \(get pods/exec [^()]*\)$"):
                await adapter.run_in_container(command)
            kubeconfig.write_text(good)
            assert (await adapter.run_in_container(command)).stdout == b"in\n"
        finally:
            await adapter.close()

    async def test_no_other_namespace_is_looked_into(self, control_plane: ControlPlane, namespace: str) -> None:
        arranged(control_plane, namespace)
        adapter = KubernetesAdapter.connect(CLUSTER, control_plane.responder_kubeconfig, namespaces={"another"})
        try:
            with pytest.raises(ForbiddenError, match="is not listed"):
                await adapter.run_in_container(asked(namespace, pod_of(control_plane, namespace), "df"))
        finally:
            await adapter.close()

    async def test_a_server_that_is_not_there(self, control_plane: ControlPlane, tmp_path: Path) -> None:
        kubeconfig = tmp_path / "away.kubeconfig"
        text = control_plane.responder_kubeconfig.read_text()
        kubeconfig.write_text(text.replace(control_plane.server, "https://127.0.0.1:1"))
        adapter = KubernetesAdapter.connect(CLUSTER, kubeconfig, namespaces=EVERYWHERE)
        try:
            with pytest.raises(UnavailableError, match="cannot be reached"):
                await adapter.run_in_container(asked("any", "any", "df"))
        finally:
            await adapter.close()


HOSTILE = [
    "../../x",
    "a/b",
    "x;drop table y",
    "$(reboot)",
    "`id`",
    "a=b,c!=d",
    "*",
    "{{.}}",
    "${alert.labels}",
    "\n",
    "a\n",
    "\x00",
    "é",
    "a" * 300,
    "..",
    "",
]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("field", ["pod", "container", "command"])
def test_hostile_names_are_refused(field: str, value: str) -> None:
    with pytest.raises(ValidationError):
        ExecParameters.model_validate({"workload": workload("any"), "command": "processes", field: value})
