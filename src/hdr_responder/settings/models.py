"""What can be set, section by section: the one list that loading, checks and the settings table are made from.

Every attribute's docstring is its public description. Anything that may carry a credential is a `SecretStr`, addresses
included, so that no representation, error or log can show it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import BeforeValidator, Field, field_validator
from pydantic_core.core_schema import ValidationInfo

from hdr_responder.settings.kinds import (
    BasicCredential,
    HomePath,
    HttpUrl,
    HttpUrls,
    ObjectStoreUrl,
    Period,
    PostgresUrl,
    PublicUrl,
    RedisUrl,
    Secret,
    Section,
    SourceName,
)

DEFAULT_SOURCE = "default"
"""The source of deliveries that name none."""
_APPLICATION = "hdr-responder"
_MIB = 1024 * 1024


class Scope(StrEnum):
    """What an API token may do; each includes the ones before it."""

    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"


def _token_list(value: object) -> object:
    """Turn ``{token: {name, scopes}}`` into a list, so that no token is ever part of an error's path."""
    if not isinstance(value, Mapping):
        return value
    return [{**(owner if isinstance(owner, Mapping) else {"name": owner}), "token": t} for t, owner in value.items()]


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """Return where the embedded database lives unless set; a relative XDG_DATA_HOME is ignored, as XDG says."""
    xdg = Path(environ.get("XDG_DATA_HOME") or "")
    home = xdg if xdg.is_absolute() else Path(environ.get("HOME") or Path.home()) / ".local" / "share"
    return home / _APPLICATION


class DatabaseSettings(Section):
    """PostgreSQL, where all records are."""

    url: PostgresUrl | None = None
    """Address of the database; absent: an embedded one, for development."""
    data_dir: HomePath = Field(
        default_factory=lambda: default_data_dir(os.environ),
        json_schema_extra={"default": "${XDG_DATA_HOME:-~/.local/share}/hdr-responder"},
    )
    """Where the embedded database keeps its data."""
    pool_size: Annotated[int, Ge(2), Le(200)] = 10
    """Most connections that one process opens."""


class RedisSettings(Section):
    """Redis, which makes things fast and shared; losing it loses no record."""

    url: RedisUrl | None = None
    """Address of Redis; absent: each process keeps its own rate limits in memory."""


class ApiToken(Section):
    """Who a token of the API belongs to and what it may do."""

    token: Secret
    """The token itself."""
    name: Annotated[str, Field(min_length=1, max_length=200)]
    """The person or system, as approvals and the timeline name it."""
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    """What it may do: read, operate, admin; each includes the ones before it."""


class HttpSettings(Section):
    """The HTTP server: webhooks, API, probes."""

    host: str = "127.0.0.1"
    """Address to listen on; a container needs 0.0.0.0, a machine is safer with its own loopback."""
    port: Annotated[int, Ge(0), Le(65535)] = 8080
    """Port to listen on; 0 takes a free one."""
    tokens: Annotated[tuple[ApiToken, ...], BeforeValidator(_token_list)] = ()
    """API tokens: {"<token>": {"name": "<person>", "scopes": ["read", "operate"]}}; absent: the API answers 401."""
    max_body_bytes: Annotated[int, Ge(1024), Le(256 * _MIB)] = 16 * _MIB
    """Largest request body taken, in bytes after decompression; a storm's group exceeds 1 MiB."""


class AlertmanagerSource(Section):
    """One Alertmanager (or HA pair) with credentials or an API of its own."""

    tokens: tuple[Secret, ...] = ()
    """Bearer tokens of this source; when set, it accepts no others."""
    basic: tuple[BasicCredential, ...] = ()
    """Basic credentials (user:password) of this source; when set, it accepts no others."""
    url: HttpUrls = ()
    """Its API, one address or several peers; absent: alertmanager.url."""


class AlertmanagerSettings(Section):
    """Alertmanager: who may deliver, and where to ask what fires now."""

    tokens: tuple[Secret, ...] = ()
    """Bearer tokens that webhooks accept; several, so that they can be rotated."""
    basic: tuple[BasicCredential, ...] = ()
    """Basic credentials (user:password) that webhooks accept."""
    url: HttpUrls = ()
    """Alertmanager's API, one address or several peers; absent: whether an alert still fires cannot be asked."""
    sources: dict[SourceName, AlertmanagerSource] = Field(default_factory=dict, validate_default=True)
    """Sources with their own tokens and API, by the name in /webhooks/alertmanager/<name>."""
    late_window: Period = timedelta(minutes=5)
    """How long after a resolve a firing with its old start is taken for a late copy."""
    quiet_period: Period = timedelta(hours=24)
    """How long an alert may be unheard of before its incident is taken for over, where Alertmanager cannot be asked."""
    backlog_limit: Period = timedelta(seconds=60)
    """Age of the oldest unprocessed delivery from which on webhooks answer 503 with Retry-After."""

    @field_validator("sources")
    @classmethod
    def _one_owner_each(
        cls, sources: dict[str, AlertmanagerSource], info: ValidationInfo
    ) -> dict[str, AlertmanagerSource]:
        owners: dict[str, str] = {}
        listed = [("alertmanager", info.data.get("tokens", ()), info.data.get("basic", ()))]
        listed += [(f"alertmanager.sources.{n}", s.tokens, s.basic) for n, s in sources.items()]
        for owner, tokens, basic in listed:
            for credential in (*tokens, *basic):
                first = owners.setdefault(credential.get_secret_value(), owner)
                if first != owner:
                    raise ValueError(f"{first} and {owner} have a credential in common, which cannot tell them apart")
        return sources

    @property
    def accepts_deliveries(self) -> bool:
        """Whether any credential is configured."""
        return any((self.tokens, self.basic, *((s.tokens or s.basic) for s in self.sources.values())))

    def urls(self, source: str) -> tuple[str, ...]:
        """Return the API addresses to ask about a source's alerts, with their credentials."""
        own = self.sources[source].url if source in self.sources else ()
        return tuple(address.get_secret_value() for address in own or self.url)


class PrometheusSettings(Section):
    """Prometheus, whose answers verify remediations."""

    url: HttpUrl | None = None
    """Address of Prometheus; absent: playbooks cannot query metrics."""


class SlackSettings(Section):
    """Slack, where people are told and asked."""

    bot_token: Secret | None = None
    """Bot token (xoxb-...); absent: Slack is off."""
    signing_secret: Secret | None = None
    """Signing secret of the app, for events over HTTP."""
    app_token: Secret | None = None
    """App-level token (xapp-...), for Socket Mode instead of HTTP."""
    channel: Annotated[str | None, Field(validate_default=True)] = None
    """Channel that incidents are posted to."""
    channels: tuple[Annotated[str, Field(min_length=1, max_length=80)], ...] = ()
    """Further channels that playbooks may post to."""
    api_url: PublicUrl = "https://slack.com/api/"
    """Address of Slack's Web API."""

    @field_validator("channel")
    @classmethod
    def _somewhere_to_post(cls, channel: str | None, info: ValidationInfo) -> str | None:
        if not channel and info.data.get("bot_token"):
            raise ValueError("is required where slack.bot_token is set")
        return channel


class PagerdutySettings(Section):
    """PagerDuty, which wakes people."""

    routing_key: Secret | None = None
    """Integration key of an Events API v2 service; absent: nobody is paged by PagerDuty."""
    events_url: PublicUrl = "https://events.pagerduty.com/v2/enqueue"
    """Address of the Events API v2."""


class KubernetesSettings(Section):
    """How clusters are reached that do not say it themselves."""

    kubeconfig: HomePath | None = None
    """Kubeconfig file; absent: the service account of the pod, else the default kubeconfig."""
    timeout: Period = timedelta(seconds=10)
    """How long one call to a cluster may take."""


class ArtifactSettings(Section):
    """The object store of evidence."""

    url: ObjectStoreUrl | None = None
    """Address of the object store (s3://, gs://, az://, file:///); absent: a folder beside the embedded data."""


class PlaybookSettings(Section):
    """The playbooks."""

    dir: HomePath = Path("playbooks")
    """Folder of the playbooks."""


class ConfigSettings(Section):
    """The other documents."""

    dir: HomePath = Path("config")
    """Folder of services.yaml, triage.yaml and escalation.yaml; responder.yaml is read from there too."""


class LogSettings(Section):
    """Logs."""

    format: Literal["json", "console"] = "json"
    """json for machines, console for people."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is written."""


class RetentionSettings(Section):
    """How long raw data is kept."""

    deliveries: Period = timedelta(days=14)
    """How long raw deliveries are kept after they were processed."""
    notifications: Period = timedelta(days=30)
    """How long delivered notifications are kept."""
