"""What is held and nothing needs: told by name, the worst first; what everybody holds is not told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from hdr_responder.actions.contract import Permission
from hdr_responder.cli.doctor import _code
from hdr_responder.cli.excess import cluster_excess
from hdr_responder.cli.failures import ExitCode
from hdr_responder.cli.findings import Finding, Status
from hdr_responder.cli.held_rights import RightsDesk
from hdr_responder.documents.rights import Needs
from hdr_responder.domain.ports.kubernetes import ClusterIdentity, HeldRule, HeldRules, Right
from hdr_responder.domain.reach import Reach

NEEDED = [
    Permission(system="kubernetes", scope="x", verb=verb, resource="apps/deployments", namespace="shop")
    for verb in ("get", "patch")
]


def rule(verbs: str, group: str, resource: str, *names: str) -> HeldRule:
    return HeldRule(verbs=tuple(verbs.split()), groups=(group,), resources=(resource,), names=names)


BASIC = rule("create", "authorization.k8s.io", "selfsubjectaccessreviews")
EXACT = rule("get patch", "apps", "deployments")


@dataclass
class Cluster:
    """Answers with rules by namespace."""

    rules: Mapping[str, Sequence[HeldRule]]
    complete: bool = True
    asked: list[str] = field(default_factory=list)

    async def held(self, namespace: str) -> HeldRules:
        self.asked.append(namespace)
        return HeldRules(rules=tuple(self.rules.get(namespace, (BASIC,))), complete=self.complete)

    async def ping(self) -> ClusterIdentity:
        return ClusterIdentity(version="1", user="me")

    async def may(self, right: Right) -> bool:
        return True


async def test_exactly_what_is_needed_is_no_excess() -> None:
    cluster = Cluster({"shop": [BASIC, EXACT]})
    assert await cluster_excess(cluster, NEEDED, ["shop"]) == ()
    assert cluster.asked == ["shop", "default", "kube-system"]


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ([rule("get list patch", "apps", "deployments")], ["list apps/deployments in shop"]),
        ([rule("*", "apps", "deployments")], ["* apps/deployments in shop"]),
        ([rule("*", "*", "*")], ["* */* in shop"]),
        ([rule("get", "", "secrets", "db")], ["get secrets (of db) in shop"]),
        (
            [rule("list", "", "pods"), rule("create", "", "pods/exec"), rule("get", "", "secrets")],
            ["create pods/exec in shop", "get secrets in shop", "list pods in shop"],
        ),
    ],
)
async def test_what_is_beyond_is_told_the_worst_first(held: list[HeldRule], told: list[str]) -> None:
    assert list(await cluster_excess(Cluster({"shop": [BASIC, EXACT, *held]}), NEEDED, ["shop"])) == told


async def test_rights_in_other_namespaces_are_beyond_too() -> None:
    found = await cluster_excess(Cluster({"kube-system": [EXACT], "shop": [EXACT]}), NEEDED, ["shop"])
    assert found == ("get, patch apps/deployments in kube-system, which no service lists",)


async def test_a_list_that_is_not_whole_is_said() -> None:
    found = await cluster_excess(Cluster({}, complete=False), NEEDED, ["shop"])
    assert found[0] == "more that the cluster cannot list in shop"


@dataclass
class Info:
    version: str = "7.0"


@dataclass
class Cache:
    """A Redis server as the desk asks it."""

    name: str = "cache"
    lacks: tuple[str, ...] = ()
    more: tuple[str, ...] = ()

    async def ping(self) -> Info:
        return Info()

    async def missing(self, permissions: Sequence[Permission]) -> tuple[str, ...]:
        return self.lacks

    async def excess(self, needed: Sequence[Permission] = ()) -> tuple[str, ...]:
        return self.more


DESK = RightsDesk(Reach(), Needs({}, (), ()))


@pytest.mark.parametrize(
    ("cache", "statuses"),
    [
        (Cache(), [Status.OK, Status.OK]),
        (Cache(lacks=("scan",)), [Status.FAILED, Status.OK]),
        (Cache(more=("flushall",)), [Status.OK, Status.WARNING]),
    ],
)
async def test_redis(cache: Cache, statuses: list[Status]) -> None:
    found = [await question for question in DESK.of_cache(cache, "check HDR_X")]
    assert [each.status for each in found] == statuses
    assert all(word in "".join(each.detail for each in found) for word in (*cache.lacks, *cache.more))


def test_what_could_not_be_told_is_a_warning() -> None:
    desk = RightsDesk(Reach(), Needs({}, ("one: pick: unknown",), ("one: pick: get pods in kube-system",)))
    assert [(each.what, each.status) for each in desk.stated()] == [
        ("rights", Status.WARNING),
        ("reach", Status.WARNING),
    ]


@pytest.mark.parametrize(("strict", "code"), [(False, ExitCode.DONE), (True, ExitCode.BAD)])
def test_a_warning_fails_only_where_it_is_asked_to(strict: bool, code: ExitCode) -> None:
    assert _code([Finding(what="x", status=Status.WARNING, detail="y")], strict=strict) is code
