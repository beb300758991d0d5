"""Prints what has to be granted so that the loaded playbooks work, and not a right more."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel, ConfigDict

from hdr_responder.cli.check import ConfigDir, PlaybooksDir, overlaid
from hdr_responder.cli.failures import ExitCode
from hdr_responder.cli.output import note, print_json, visible
from hdr_responder.cli.parameters import Json, reading
from hdr_responder.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from hdr_responder.actions.contract import Permission
    from hdr_responder.documents.rights import Needs
    from hdr_responder.settings import Settings

_ACCOUNT = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_ROLE = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class GrantKind(StrEnum):
    """The systems that grant rights."""

    KUBERNETES = "kubernetes"
    POSTGRES = "postgres"
    REDIS = "redis"
    SLACK = "slack"


class RightView(BaseModel):
    """One right, with who needs it (``restart-service: logs (kubernetes.logs)``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: GrantKind
    scope: str
    namespace: str
    verb: str
    resource: str
    needed_by: tuple[str, ...]


class RightsView(BaseModel):
    """All rights that are needed; ``complete`` is false while somebody could not tell."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    complete: bool
    rights: tuple[RightView, ...]
    untold: tuple[str, ...]
    """Who could not tell its rights beforehand, and why."""
    out_of_reach: tuple[str, ...]
    """Rights that are granted to nobody: the service catalogue does not list where they would be used."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(rbac)


def _matching(pattern: re.Pattern[str], expected: str) -> object:
    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise InvalidInputError(f"expected {expected}")
        return text

    return reading(read)


def rbac(
    *,
    kind: Annotated[
        GrantKind | None, typer.Option(case_sensitive=False, help="Only what this system grants; all without it.")
    ] = None,
    cluster: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this cluster of the settings, more than once for several."),
    ] = None,
    account: Annotated[
        str,
        typer.Option(
            parser=_matching(_ACCOUNT, "NAMESPACE/NAME"),
            metavar="NAMESPACE/NAME",
            help="The service account that holds the rights in a cluster.",
        ),
    ] = "hdr-responder/hdr-responder",
    role: Annotated[
        str,
        typer.Option(
            parser=_matching(_ROLE, "a name of a-z, 0-9 and _"),
            metavar="NAME",
            help="The role or user that holds the rights on databases and Redis servers.",
        ),
    ] = "hdr_responder_target",
    config: ConfigDir = None,
    playbooks: PlaybooksDir = None,
    as_json: Json = False,
) -> None:
    """Print the rights that the loaded playbooks need: Kubernetes roles, PostgreSQL grants, Redis ACLs, Slack scopes.

    Exits 1 when an action cannot tell its rights beforehand: what is printed is not complete then.
    """
    from hdr_responder.actions.registry import registry
    from hdr_responder.app.documents import load_documents
    from hdr_responder.documents.rights import needed_rights
    from hdr_responder.settings import load_settings

    settings = load_settings(environ=overlaid(os.environ, config, playbooks))
    clusters = _clusters(settings, cluster)
    needs = needed_rights(load_documents(settings), registry(), clusters)
    wanted = [right for right in needs.rights if _is_wanted(right, kind, clusters, chosen=bool(cluster))]
    if as_json:
        print_json(_view(needs, wanted))
    else:
        for text in _texts(wanted, account, role):
            typer.echo(visible(text), nl=False)
    for who in needs.out_of_reach:
        note(f"not granted, since config/services.yaml does not list where it is used: {who}")
    for who in needs.untold:
        note(f"NOT COMPLETE: {who}")
    raise typer.Exit(ExitCode.BAD if needs.untold else ExitCode.DONE)


def _clusters(settings: Settings, chosen: list[str] | None) -> tuple[str, ...]:
    known = settings.targets.kubernetes
    for name in chosen or ():
        if name not in known:
            raise NotFoundError(
                f"no targets.kubernetes.{name} is configured (configured: {', '.join(known) or 'none'})"
            )
    return tuple(dict.fromkeys(chosen)) if chosen else tuple(known)


def _is_wanted(right: Permission, kind: GrantKind | None, clusters: tuple[str, ...], *, chosen: bool) -> bool:
    """Tell whether a right was asked for: with a cluster chosen, only what Kubernetes grants."""
    system = GrantKind(right.system)
    if system is GrantKind.KUBERNETES and right.scope not in clusters:
        return False
    return system is kind if kind else system is GrantKind.KUBERNETES or not chosen


def _view(needs: Needs, wanted: list[Permission]) -> RightsView:
    rights = (
        RightView(
            system=GrantKind(right.system),
            scope=right.scope,
            namespace=right.namespace,
            verb=right.verb,
            resource=right.resource,
            needed_by=tuple(sorted(needs.rights[right])),
        )
        for right in wanted
    )
    return RightsView(
        complete=not needs.untold, rights=tuple(rights), untold=needs.untold, out_of_reach=needs.out_of_reach
    )


def _texts(wanted: list[Permission], account: str, role: str) -> Iterator[str]:
    """Yield one text for each cluster and target."""
    from hdr_responder.cli.grants import Account, cluster_yaml, postgres_sql, redis_acl

    namespace, _, name = account.partition("/")
    for number, ((kind, scope), rights) in enumerate(_by_scope(wanted).items()):
        between = "" if not number else "---\n" if kind is GrantKind.KUBERNETES else "\n"
        match kind:
            case GrantKind.KUBERNETES:
                yield between + cluster_yaml(scope, rights, Account(namespace=namespace, name=name))
            case GrantKind.POSTGRES:
                yield between + postgres_sql(scope, rights, role)
            case GrantKind.REDIS:
                yield between + redis_acl(scope, rights, role)
            case GrantKind.SLACK:
                yield f"{between}# The scopes of the bot in Slack\n{', '.join(sorted({r.verb for r in rights}))}\n"


def _by_scope(wanted: list[Permission]) -> Mapping[tuple[GrantKind, str], list[Permission]]:
    found: dict[tuple[GrantKind, str], list[Permission]] = {}
    order = list(GrantKind)
    for right in sorted(wanted, key=lambda r: (order.index(GrantKind(r.system)), r.scope, str(r))):
        found.setdefault((GrantKind(right.system), right.scope), []).append(right)
    return found
