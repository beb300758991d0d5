"""What can be set, section by section: the one list that loading, checks and the settings table are made from.

Every attribute's docstring is its public description. Anything that may carry a credential is a `SecretStr`, addresses
included, so that no representation, error or log can show it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator
from pydantic_core.core_schema import ValidationInfo

from hdr_responder.domain.durations import Duration
from hdr_responder.errors import ConfigError, NotFoundError

DEFAULT_SOURCE = "default"
"""The source of deliveries that name none."""
_SOURCE_NAME = re.compile(r"[a-z0-9-]{1,64}")
_APPLICATION = "hdr-responder"
_MIB = 1024 * 1024


class Scope(StrEnum):
    """What an API token may do; each includes the ones before it."""

    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"


def is_source_name(text: str) -> bool:
    """Tell whether a text may name a source of deliveries."""
    return _SOURCE_NAME.fullmatch(text) is not None


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """Return where the embedded database lives unless set; a relative XDG_DATA_HOME is ignored, as XDG says."""
    xdg = Path(environ.get("XDG_DATA_HOME") or "")
    home = xdg if xdg.is_absolute() else Path(environ.get("HOME") or Path.home()) / ".local" / "share"
    return home / _APPLICATION


def _one_word(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text or not text.isprintable() or " " in text:
        raise ValueError("must not be empty and must not contain spaces or line breaks")
    return secret


def _address(*schemes: str) -> AfterValidator:
    def check(address: SecretStr) -> SecretStr:
        scheme, separator, rest = _one_word(address).get_secret_value().partition("://")
        if not separator or scheme.lower() not in schemes or not rest:
            raise ValueError("must be an address that begins with " + " or ".join(f"{s}://" for s in schemes))
        return address

    return AfterValidator(check)


def _public_address(address: str) -> str:
    scheme, separator, rest = address.partition("://")
    if not separator or scheme.lower() not in ("http", "https") or not rest or " " in rest:
        raise ValueError("must be an address that begins with http:// or https://")
    if "@" in rest.partition("/")[0]:
        raise ValueError("must not contain a user or password")
    return address


def _basic(secret: SecretStr) -> SecretStr:
    user, separator, password = secret.get_secret_value().partition(":")
    if not separator or not user or not password:
        raise ValueError("must be written user:password")
    return secret


def _source_name(name: str) -> str:
    if not is_source_name(name):
        raise ValueError("must be at most 64 characters of a-z, 0-9 and -")
    return name


def _object_store(address: str) -> str:
    if not re.match(r"[a-z0-9]+://.", address):
        raise ValueError("must be an address, for example s3://bucket/folder or file:///folder")
    return address


def _one_or_several(value: object) -> object:
    return [value] if isinstance(value, str | SecretStr) else value


def _token_list(value: object) -> object:
    """Turn ``{token: {name, scopes}}`` into a list, so that no token is ever part of an error's path."""
    if not isinstance(value, Mapping):
        return value
    return [{**(owner if isinstance(owner, Mapping) else {"name": owner}), "token": t} for t, owner in value.items()]


def _host_and_port(text: str) -> str:
    host, separator, port = text.rpartition(":")
    if not separator or not host or "/" in host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("must be of the form host:port")
    return text


Secret = Annotated[SecretStr, AfterValidator(_one_word)]
BasicCredential = Annotated[SecretStr, AfterValidator(_basic)]
PostgresUrl = Annotated[SecretStr, _address("postgresql", "postgres")]
RedisUrl = Annotated[SecretStr, _address("redis", "rediss", "unix")]
HttpUrls = Annotated[tuple[Annotated[SecretStr, _address("http", "https")], ...], BeforeValidator(_one_or_several)]
PublicUrl = Annotated[str, AfterValidator(_public_address)]
HomePath = Annotated[Path, AfterValidator(Path.expanduser)]
Period = Annotated[Duration, Gt(timedelta(0))]
SourceName = Annotated[str, AfterValidator(_source_name)]


class Section(BaseModel):
    """A frozen part of the settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)


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

    url: Annotated[SecretStr, _address("http", "https")] | None = None
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

    url: Annotated[str, AfterValidator(_object_store)] | None = None
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


class PostgresTargetSettings(Section):
    """A database that actions may act on."""

    url: PostgresUrl | None = None
    """Its address; may stay unset until a playbook names the target."""
    schemas: tuple[str, ...] = ("public",)
    """Schemas whose tables and indexes may be maintained; those of the system never are."""
    connections: Annotated[int, Ge(1), Le(20)] = 3
    """Most connections that one process opens for short calls; one more runs maintenance."""


class RedisTargetSettings(Section):
    """A Redis that actions may act on, never the one that shares our own rate limits."""

    url: RedisUrl | None = None
    """Its address, or that of any node of the cluster; may stay unset until a playbook names the target."""
    cluster: bool = False
    """Whether it is a cluster, of which every master is then asked; a target that is the other kind is refused."""


class KubernetesTargetSettings(Section):
    """A cluster that actions may act on, by the value of the alerts' cluster label."""

    kubeconfig: HomePath | None = None
    """Kubeconfig file; absent: kubernetes.kubeconfig."""
    context: str | None = None
    """Context within the kubeconfig; absent: its current one."""


class HttpTargetSettings(Section):
    """A web service that actions may ask."""

    url: Annotated[SecretStr, _address("http", "https")]
    """Its base address; requests stay below it."""
    token: Secret | None = None
    """Bearer token that is sent to it."""


class TlsTargetSettings(Section):
    """A server whose certificate is watched."""

    address: Annotated[str, AfterValidator(_host_and_port)]
    """Where it is: host:port."""
    server_name: str | None = None
    """Name to ask for, where it is not the host."""


class TargetSettings(Section):
    """What actions may act on; what is not named here is never changed."""

    postgres: dict[str, PostgresTargetSettings] = Field(default_factory=dict)
    """Databases by name."""
    redis: dict[str, RedisTargetSettings] = Field(default_factory=dict)
    """Redis servers and clusters by name."""
    kubernetes: dict[str, KubernetesTargetSettings] = Field(default_factory=dict)
    """Clusters by the value of the alerts' cluster label."""
    http: dict[str, HttpTargetSettings] = Field(default_factory=dict)
    """Web services by name."""
    tls: dict[str, TlsTargetSettings] = Field(default_factory=dict)
    """Servers with certificates by name."""

    def postgres_url(self, name: str) -> str:
        """Return the address of a target database.

        Raises NotFoundError for an unknown name and ConfigError when it has no address.
        """
        if name not in self.postgres:
            raise NotFoundError(f"no targets.postgres.{name} is configured")
        address = self.postgres[name].url
        if address is None:
            variable = f"HDR_TARGETS__POSTGRES__{name.upper().replace('-', '_')}__URL"
            raise ConfigError(f"targets.postgres.{name} has no url; set {variable}")
        return address.get_secret_value()

    def redis_url(self, name: str) -> str:
        """Return the address of a target Redis; raises as `postgres_url` does."""
        if name not in self.redis:
            raise NotFoundError(f"no targets.redis.{name} is configured")
        address = self.redis[name].url
        if address is None:
            variable = f"HDR_TARGETS__REDIS__{name.upper().replace('-', '_')}__URL"
            raise ConfigError(f"targets.redis.{name} has no url; set {variable}")
        return address.get_secret_value()


class RetentionSettings(Section):
    """How long raw data is kept."""

    deliveries: Period = timedelta(days=14)
    """How long raw deliveries are kept after they were processed."""
    notifications: Period = timedelta(days=30)
    """How long delivered notifications are kept."""
