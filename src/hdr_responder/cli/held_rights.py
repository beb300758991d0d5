"""The doctor's questions about rights: what the playbooks need and we lack, and what we hold and nothing uses.

What is lacking fails a step at night, so it fails the doctor; what is too much works, so it is a warning.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass

from hdr_responder.actions.contract import Permission
from hdr_responder.actions.registry import registry
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.adapters.postgres_target import PostgresTarget
from hdr_responder.adapters.slack import SlackSender
from hdr_responder.adapters.slack.scopes import LISTENING, POSTING, PRIVATE
from hdr_responder.cli.excess import PingedHolder, cluster_excess
from hdr_responder.cli.findings import Finding, ask, some, warned, weigh
from hdr_responder.documents.catalogue import Documents
from hdr_responder.documents.rights import Needs, needed_rights
from hdr_responder.domain.reach import CATALOGUE, Reach
from hdr_responder.errors import ForbiddenError
from hdr_responder.settings import Settings


@dataclass(frozen=True, slots=True)
class RightsDesk:
    """Asks about rights; ``needs`` is None while the documents are wrong, and then nothing is judged."""

    reach: Reach
    needs: Needs | None

    @classmethod
    def of(cls, documents: Documents | None, settings: Settings) -> RightsDesk:
        """Return a desk for these documents, None where they are wrong."""
        if documents is None:
            return cls(Reach(), None)
        needs = needed_rights(documents, registry(), tuple(settings.targets.kubernetes))
        return cls(documents.services.reach, needs)

    def of_cluster(self, cluster: KubernetesAdapter, advice: str) -> Iterator[Awaitable[Finding]]:
        """Yield whether a cluster answers and lets us do all that is needed, and whether it lets us do more."""
        needed = self._needed("kubernetes", cluster.name)
        yield ask(f"cluster {cluster.name}", _cluster(cluster, needed), advice)
        if self.needs:
            yield weigh(
                f"cluster {cluster.name} excess",
                cluster_excess(cluster, needed, self.reach.namespaces),
                "we may do nothing that no playbook needs",
                f"we may do more than hdr-responder rbac --cluster {cluster.name} prints, take it away",
            )

    def of_database(self, server: PostgresTarget, advice: str) -> Iterator[Awaitable[Finding]]:
        """Yield whether a database answers and lets our role do all that is needed, and whether it lets it do more."""
        needed = self._needed("postgres", server.name)
        yield ask(f"postgres {server.name}", _database(server, needed), advice)
        yield weigh(
            f"postgres {server.name} excess",
            server.excess(needed),
            "our role can do nothing that no playbook needs",
            "our role can do more than hdr-responder rbac --kind postgres prints, take it away",
        )

    def of_cache(self, server: PingedHolder, advice: str) -> Iterator[Awaitable[Finding]]:
        """Yield the same of a Redis server."""
        needed = self._needed("redis", server.name)
        yield ask(f"redis {server.name}", _cache(server, needed), advice)
        yield weigh(
            f"redis {server.name} excess",
            server.excess(needed),
            "our user can do nothing that no playbook needs",
            "our user can do more than hdr-responder rbac --kind redis prints, take it away",
        )

    def of_slack(self, sender: SlackSender, settings: Settings) -> Iterator[Awaitable[Finding]]:
        """Yield whether the token has the scopes that are used, and whether it has others."""
        listens = settings.slack.signing_secret or settings.slack.app_token
        used = {*POSTING, *(LISTENING if listens else ()), *(right.verb for right in self._needed("slack"))}
        yield ask("slack scopes", _scopes(sender, used), "on the app's page, OAuth & Permissions")
        yield weigh(
            "slack scopes excess",
            _scopes_excess(sender, {*used, *LISTENING, *PRIVATE}),
            "the token has no scope that is not used",
            "the token has scopes that are not used, take them off the app and install it again",
        )

    def stated(self) -> Iterator[Finding]:
        """Yield what the documents alone tell: rights that could not be told, or where nothing may be touched."""
        if self.needs and self.needs.untold:
            told = some(self.needs.untold)
            yield warned("rights", f"some cannot be told beforehand, so nobody asked for them: {told}")
        if self.needs and self.needs.out_of_reach:
            outside = some(self.needs.out_of_reach)
            yield warned("reach", f"playbooks want to act where {CATALOGUE} does not let them: {outside}")

    def _needed(self, system: str, scope: str | None = None) -> tuple[Permission, ...]:
        return self.needs.of(system, scope) if self.needs else ()


async def _cluster(cluster: KubernetesAdapter, needed: Sequence[Permission]) -> str:
    identity = await cluster.ping()
    who = f"Kubernetes {identity.version}" + (f" as {identity.user}" if identity.user else "")
    answers = await asyncio.gather(*(cluster.may(right) for right in needed))
    missing = [str(right) for right, allowed in zip(needed, answers, strict=True) if not allowed]
    if missing:
        raise ForbiddenError(f"{who}: the playbooks need rights that it lacks; grant them: {some(missing)}")
    return f"{who}, with all {len(needed)} rights that the playbooks need"


async def _database(server: PostgresTarget, needed: Sequence[Permission]) -> str:
    info = await server.ping()
    missing = await server.missing(needed)
    if missing:
        how = "grant them as hdr-responder rbac --kind postgres prints"
        raise ForbiddenError(f"the playbooks need rights that our role lacks: {', '.join(missing)}; {how}")
    standing = "" if info.primary else "; a standby: sessions are ended on the primary only"
    held = f", with {', '.join(f'{right.verb} {right.resource}'.rstrip() for right in needed)}" if needed else ""
    return f"PostgreSQL {info.version}{held}{standing}"


async def _cache(server: PingedHolder, needed: Sequence[Permission]) -> str:
    info = await server.ping()
    if missing := await server.missing(needed):
        how = "grant them as hdr-responder rbac --kind redis prints"
        raise ForbiddenError(f"the playbooks need rights that our user lacks: {', '.join(missing)}; {how}")
    return f"Redis {info.version}, with all {len(needed)} rights that the playbooks need"


async def _scopes(sender: SlackSender, used: set[str]) -> str:
    held = await sender.api.scopes()
    if held is None:
        return "Slack does not tell which scopes the token has"
    if missing := sorted(used - held):
        raise ForbiddenError(f"the token lacks scopes: add {', '.join(missing)} and install the app again")
    return f"the token has the {len(used)} scopes that are used"


async def _scopes_excess(sender: SlackSender, known: set[str]) -> tuple[str, ...]:
    return tuple(sorted((await sender.api.scopes() or frozenset()) - known))
