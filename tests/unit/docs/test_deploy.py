"""What `deploy/` ships fits the code: no right too many, no scope missing, no alert without its runbook."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache
from typing import Any

import pytest
from ruamel.yaml import YAML

from hdr_responder.actions.registry import registry
from hdr_responder.adapters.slack.inbound import PATH as SLACK_PATH
from hdr_responder.adapters.slack.scopes import LISTENING, POSTING, PRIVATE
from hdr_responder.cli.grants import Account, cluster_yaml
from hdr_responder.documents.catalogue import Documents, load
from hdr_responder.documents.rights import Needs, needed_rights
from hdr_responder.domain.durations import parse_duration
from hdr_responder.domain.workloads import Workload
from tests.unit.docs.markdown import ROOT, anchors

DEPLOY = ROOT / "deploy"
CLUSTER = "prod-eu"
SLACK_SCOPES = {
    "auth_test": set(),
    "chat_postMessage": {"chat:write"},
    "chat_postEphemeral": {"chat:write"},
    "chat_update": {"chat:write"},
    "conversations_history": {"channels:history", "groups:history"},
    "conversations_replies": {"channels:history", "groups:history"},
    "conversations_info": {"channels:read", "groups:read"},
    "conversations_list": {"channels:read", "groups:read"},
    "users_info": {"users:read"},
}
"""What Slack's reference asks for each method, in public and private channels."""


def read(name: str) -> Any:
    return YAML(typ="safe").load((DEPLOY / name).read_text("utf-8"))


@cache
def shipped() -> Documents:
    return load(ROOT / "config", ROOT / "playbooks", registry())


@cache
def needs() -> Needs:
    return needed_rights(shipped(), registry(), [CLUSTER])


def granted() -> dict[tuple[str, str], set[str]]:
    """Verbs by namespace and resource, of every Role."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for document in YAML(typ="safe").load_all((DEPLOY / "kubernetes/rbac.yaml").read_text("utf-8")):
        for rule in document.get("rules", ()) if document["kind"] == "Role" else ():
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    key = document["metadata"]["namespace"], f"{group}/{resource}".lstrip("/")
                    found[key] |= set(rule["verbs"])
    return dict(found)


def needed() -> dict[tuple[str, str], set[str]]:
    """What the steps and the checks of the shipped playbooks need, on every workload of the catalogue."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for right in needs().of("kubernetes", CLUSTER):
        found[(right.namespace, right.resource)].add(right.verb)
    return dict(found)


def test_the_roles_grant_exactly_what_the_playbooks_need() -> None:
    assert granted() == needed()


def test_the_committed_roles_are_what_rbac_prints() -> None:
    account = Account(namespace="hdr-responder", name="hdr-responder")
    printed = cluster_yaml(CLUSTER, needs().of("kubernetes", CLUSTER), account)
    told = f"hdr-responder rbac --cluster {CLUSTER} > deploy/kubernetes/rbac.yaml"
    assert (DEPLOY / "kubernetes/rbac.yaml").read_text("utf-8") == printed, f"run: {told}"


def test_nothing_that_is_shipped_leaves_its_rights_open() -> None:
    assert (needs().untold, needs().out_of_reach) == ((), ())


def test_the_roles_are_bound_to_one_account() -> None:
    documents = list(YAML(typ="safe").load_all((DEPLOY / "kubernetes/rbac.yaml").read_text("utf-8")))
    roles = {(d["metadata"]["namespace"], d["metadata"]["name"]) for d in documents if d["kind"] == "Role"}
    bindings = [d for d in documents if d["kind"] == "RoleBinding"]
    assert {(d["metadata"]["namespace"], d["roleRef"]["name"]) for d in bindings} == roles
    account = {"kind": "ServiceAccount", "name": "hdr-responder", "namespace": "hdr-responder"}
    assert all(d["subjects"] == [account] for d in bindings)
    assert {d["kind"] for d in documents} == {"Namespace", "ServiceAccount", "Role", "RoleBinding"}


def test_every_workload_of_the_catalogue_is_in_a_namespace_with_rights() -> None:
    workloads = [w for s in shipped().services.services if isinstance(w := s.workload_in(CLUSTER), Workload)]
    assert {w.namespace for w in workloads} == {namespace for namespace, _ in granted()}


def test_database_roles_are_exactly_those_that_the_playbooks_need() -> None:
    lines = (DEPLOY / "postgres/role.sql").read_text("utf-8").splitlines()
    first_capability = next(n for n, line in enumerate(lines) if line.startswith("\\if :{?maintenance}"))
    granted = [line for line in lines[:first_capability] if line.startswith("grant ")]
    assert len(granted) == 1
    found = re.fullmatch(r'grant (.+) to :"role";', granted[0])
    assert found is not None
    assert set(found[1].split(", ")) == {right.verb for right in needs().of("postgres", "hdr_empire")}


def test_slack_scopes_are_those_of_the_methods_that_are_called() -> None:
    sources = (ROOT / "src/hdr_responder/adapters/slack").glob("*.py")
    called = {m for f in sources for m in re.findall(r"\bself\.web\.(\w+_\w+)\(", f.read_text("utf-8"))}
    assert called == set(SLACK_SCOPES)
    wanted = set().union(*SLACK_SCOPES.values()) | {"app_mentions:read", "commands"}
    asked = set(read("slack-manifest.yaml")["oauth_config"]["scopes"]["bot"])
    assert asked == wanted == POSTING | PRIVATE | LISTENING


def test_slack_events_and_addresses_are_those_that_are_served() -> None:
    manifest, inbound = (
        read("slack-manifest.yaml"),
        (ROOT / "src/hdr_responder/adapters/slack/inbound.py").read_text("utf-8"),
    )
    assert set(manifest["settings"]["event_subscriptions"]["bot_events"]) == set(
        re.findall(r'app\.event\("(\w+)"\)', inbound)
    )
    commands = manifest["features"]["slash_commands"]
    assert [c["command"] for c in commands] == re.findall(r'app\.command\("(/\w+)"\)', inbound)
    addresses = [commands[0]["url"], manifest["settings"]["event_subscriptions"]["request_url"]]
    addresses.append(manifest["settings"]["interactivity"]["request_url"])
    assert all(a.endswith(SLACK_PATH) for a in addresses)
    assert manifest["settings"]["interactivity"]["is_enabled"] is True


def rules() -> list[dict[str, Any]]:
    return [rule for group in read("prometheus/hdr-responder.rules.yaml")["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("rule", rules(), ids=lambda r: r["alert"])
def test_every_rule_says_what_to_do(rule: dict[str, Any]) -> None:
    if rule["alert"] == "Watchdog":
        assert rule["expr"] == "vector(1)"
        return
    assert rule["labels"]["service"] == "hdr-responder"
    assert rule["labels"]["severity"] in {"critical", "warning"}
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert anchor == rule["alert"].lower()
    assert anchor in anchors(ROOT / page)


def test_every_runbook_has_its_rule() -> None:
    told = {a for a in anchors(ROOT / "docs/operations.md") if a.startswith("hdrresponder")}
    assert told == {r["alert"].lower() for r in rules()} - {"watchdog"}


def test_results_of_deliveries_in_the_rules_are_all_that_there_are() -> None:
    webhooks = (ROOT / "src/hdr_responder/adapters/http/webhooks.py").read_text("utf-8")
    given = set(re.findall(r'\d+: "(\w+)"', webhooks)) | {"failed", "refused", "accepted"}
    asked = {r for rule in rules() for m in re.findall(r'result=~"([\w|]+)"', rule["expr"]) for r in m.split("|")}
    assert asked == given - {"accepted"}


def test_the_watchdog_is_expected_and_repeated_in_time() -> None:
    watchdog = shipped().escalation.watchdog
    assert watchdog is not None
    assert watchdog.matches({"alertname": "Watchdog", "severity": "none"})
    routes = [r for r in read("alertmanager.yaml")["route"]["routes"] if "Watchdog" in str(r.get("matchers"))]
    assert {r["receiver"] for r in routes} == {"hdr-responder", "outside-monitor"}
    for route in routes:
        assert parse_duration(route["repeat_interval"]) * 3 <= watchdog.within


def test_the_scrape_job_is_the_one_that_the_rules_ask_for() -> None:
    (job,) = read("prometheus/scrape.yaml")["scrape_configs"]
    assert f'up{{job="{job["job_name"]}"}}' in next(r["expr"] for r in rules() if r["alert"] == "HdrResponderDown")


def test_one_problem_pages_once() -> None:
    document = read("alertmanager.yaml")
    pagers = {r["name"] for r in document["receivers"] if "pagerduty_configs" in r}
    routes = [r for r in document["route"]["routes"] if r["receiver"] in pagers]
    assert [r["matchers"] for r in routes] == [['service = "hdr-responder"']]
    assert not any(r.get("continue") for r in routes)
