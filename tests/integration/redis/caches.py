"""Real Redis servers as the responder sees them: as a user of an ACL that holds what a test gives it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from redis.crc import key_slot

from hdr_responder.actions.contract import AnyAction, Evidence, Fence, Mutation, Permission, Result, State, StepContext
from hdr_responder.adapters.redis_target import RedisTarget
from hdr_responder.domain.ports.systems import Systems
from tests.fakes.clock import ManualClock
from tests.services.redis import SLOTS, RedisCluster, RedisServer

TARGET = "cache"
USER = "responder"
PASSWORD = "hunter2"
R = TypeVar("R", bound=Result)


@dataclass
class KeptEvidence(Evidence):
    """Keeps artifacts in memory, by their names."""

    artifacts: dict[str, bytes] = field(default_factory=dict)

    async def keep(self, name: str, media_type: str, content: bytes) -> str:
        assert media_type in {"text/plain", "application/json"}
        self.artifacts[name] = content
        return f"artifact-{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A single server or a cluster; ``nodes`` are all its servers, masters first."""

    masters: tuple[RedisServer, ...]
    nodes: tuple[RedisServer, ...]
    cluster: RedisCluster | None

    def target(self, timeout: float = 5.0) -> RedisTarget:
        """The site as the responder reaches it."""
        return reached(self.masters[0].port, cluster=self.cluster is not None, timeout=timeout)

    def put(self, values: Mapping[str | bytes, str]) -> None:
        """Set keys, wherever they belong."""
        owned: dict[int, list[str | bytes]] = {}
        for key, value in values.items():
            owned.setdefault(self._master_of(key), []).extend(["SET", key, value])
        for master, words in owned.items():
            self.masters[master].admin_each([words[i : i + 3] for i in range(0, len(words), 3)])

    def keys(self) -> set[bytes]:
        """Every key of every master."""
        return {key for master in self.masters for key in master.admin("KEYS", "*")}

    def config(self, setting: str) -> set[str]:
        """The values that the nodes hold."""
        return {value_of(node, setting) for node in self.nodes}

    def owner(self, key: str | bytes) -> RedisServer:
        """The master that holds a key."""
        return self.masters[self._master_of(key)]

    def _master_of(self, key: str | bytes) -> int:
        """Masters share the slots in equal parts, in order."""
        return key_slot(key.encode() if isinstance(key, str) else key) * len(self.masters) // SLOTS


def value_of(node: RedisServer, setting: str) -> str:
    """A setting of one server."""
    answer = node.admin("CONFIG", "GET", setting)
    pairs = answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
    return next(v.decode() if isinstance(v, bytes) else str(v) for v in pairs.values())


def reached(port: int, *, cluster: bool = False, user: str = USER, timeout: float = 5.0) -> RedisTarget:
    """A server on this port, as the responder reaches it."""
    return RedisTarget(TARGET, f"redis://{user}:{PASSWORD}@127.0.0.1:{port}/0", cluster=cluster, timeout=timeout)


def grant(nodes: Iterable[RedisServer], permissions: Iterable[Permission], *, but: Permission | None = None) -> None:
    """Let the responder do exactly this, on every node."""
    held = [p for p in permissions if p != but]
    rules = [f"+{p.verb}" for p in held] + sorted({p.resource for p in held if p.resource})
    for node in nodes:
        node.admin("ACL", "SETUSER", USER, "reset", "on", f">{PASSWORD}", "resetchannels", *rules)


def grant_for(site: Site, action: AnyAction, params: Any) -> None:
    """Let the responder do what the action declares."""
    grant(site.nodes, action.permissions(params))


def step(target: RedisTarget, *, evidence: KeptEvidence | None = None) -> StepContext:
    """The context of one step."""
    return StepContext(
        fence=Fence(run_id=uuid.UUID(int=1), token=1),
        step_id="clean",
        incident_ref="INC-1",
        cluster=None,
        systems=Systems(redis={TARGET: target}),
        evidence=evidence or KeptEvidence(),
        clock=ManualClock(),
    )


async def prepare(action: Mutation[Any, Any], ctx: StepContext, params: Any) -> State:
    """All that comes before the change; what it captured, as the store gives it back."""
    await action.dry_run(ctx, params)
    state: State = json.loads(json.dumps(await action.capture(ctx, params)))
    return state


async def perform(action: Mutation[Any, R], ctx: StepContext, params: Any) -> tuple[State, R]:
    """A whole step: what it captured and its result."""
    state = await prepare(action, ctx, params)
    return state, await action.execute(ctx, params, state)
