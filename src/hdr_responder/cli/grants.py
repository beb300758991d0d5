"""Rights as the systems that grant them take them: Kubernetes' YAML, PostgreSQL's SQL, Redis' ACL, Slack's scopes.

Always in the same order, so that a review sees what changed and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hdr_responder.actions.contract import Permission
from hdr_responder.adapters.kubernetes.requests import Resource

_VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
_OBJECTS = {"execute": "function", "select": "table", "create": "schema", "usage": "schema", "set": "parameter"}
"""What PostgreSQL's privileges are held on, as ``grant`` spells it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The service account that holds the rights in a cluster."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What may be done with one resource."""

    group: str
    resource: str
    verbs: tuple[str, ...]


def rules(rights: Iterable[Permission]) -> tuple[Rule, ...]:
    """Return the rules of one namespace's Role."""
    verbs: dict[tuple[str, str], set[str]] = {}
    for right in rights:
        found = Resource.parse(right.resource)
        resource = f"{found.plural}/{found.subresource}" if found.subresource else found.plural
        verbs.setdefault((found.group, resource), set()).add(right.verb)
    return tuple(
        Rule(group=group, resource=resource, verbs=tuple(sorted(found, key=_place)))
        for (group, resource), found in sorted(verbs.items())
    )


def cluster_yaml(cluster: str, rights: Sequence[Permission], account: Account) -> str:
    """Return the objects that grant the rights in a cluster: an account, and a Role with its binding per namespace."""
    documents = [
        f"# What the loaded playbooks and health probes need in cluster {cluster}, and no right more.\n"
        f"# Made by: hdr-responder rbac --kind kubernetes --cluster {cluster}\n"
        f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {account.namespace}\n",
        f"apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: {account.name}\n  namespace: {account.namespace}\n",
    ]
    for namespace in sorted({right.namespace for right in rights}):
        documents.append(_role(namespace, rules(r for r in rights if r.namespace == namespace), account))
        documents.append(_binding(namespace, account))
    return "---\n".join(documents)


def postgres_sql(target: str, rights: Sequence[Permission], role: str) -> str:
    """Return the statements that grant the rights on a database."""
    head = (
        f"-- What the loaded playbooks and health probes need on targets.postgres.{target}: run it as a superuser in\n"
        f"-- that database, once the role is there (create role {role} login connection limit 5).\n"
    )
    return head + "".join(f"{statement}\n" for statement in _statements(rights, role))


def redis_acl(target: str, rights: Sequence[Permission], user: str) -> str:
    """Return the command that gives a user the rights on a Redis server and takes all others away."""
    keys = sorted({_keys(right.resource) for right in rights if right.resource})
    commands = [f"+{command}" for command in sorted({right.verb for right in rights})]
    granted = " ".join(["resetkeys", "resetchannels", *keys, "-@all", *commands])
    return (
        f"# What the loaded playbooks need on targets.redis.{target}. Its password: ACL SETUSER {user} on >...\n"
        f"ACL SETUSER {user} {granted}\n"
    )


def _statements(rights: Sequence[Permission], role: str) -> Iterator[str]:
    roles = [right.verb for right in rights if not right.resource]
    if roles:
        yield f"grant {', '.join(roles)} to {role};"
    for right in rights:
        if right.resource:
            yield _privilege(right, role)


def _privilege(right: Permission, role: str) -> str:
    table = right.resource
    owner = f"(select pg_get_userbyid(relowner) from pg_class where oid = {_literal(table)}::regclass)"
    as_owner = f"execute format('grant %I to {role}', {owner});"
    match right.verb:
        case "owner":
            return f"do $do$ begin {as_owner} end $do$;"
        case "maintain":  # a privilege since PostgreSQL 17, before that the owner's alone
            new = f"execute {_literal(f'grant maintain on table {table} to {role}')};"
            is_new = "current_setting('server_version_num')::int >= 170000"
            return f"do $do$ begin if {is_new} then {new} else {as_owner} end if; end $do$;"
        case "alter system":
            return f"grant alter system on parameter {table} to {role};"
        case verb:
            return f"grant {verb} on {_OBJECTS.get(verb, 'table')} {table} to {role};"


def _keys(pattern: str) -> str:
    """Return a pattern of keys as an ACL spells it: for reading and writing, unless it says otherwise."""
    return pattern if pattern.startswith(("~", "%")) else f"~{pattern}"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _role(namespace: str, found: Sequence[Rule], account: Account) -> str:
    listed = "".join(
        f'  - apiGroups: ["{rule.group}"]\n    resources: [{rule.resource}]\n    verbs: [{", ".join(rule.verbs)}]\n'
        for rule in found
    )
    return (
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n"
        f"metadata:\n  name: {account.name}\n  namespace: {namespace}\nrules:\n{listed}"
    )


def _binding(namespace: str, account: Account) -> str:
    return (
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n"
        f"metadata:\n  name: {account.name}\n  namespace: {namespace}\n"
        f"roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: Role\n  name: {account.name}\n"
        f"subjects:\n  - kind: ServiceAccount\n    name: {account.name}\n    namespace: {account.namespace}\n"
    )


def _place(verb: str) -> tuple[int, str]:
    return (_VERBS.index(verb) if verb in _VERBS else len(_VERBS), verb)
