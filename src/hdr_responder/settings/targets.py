"""What actions may act on and ask: systems by the names that playbooks and alerts use."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le
from pydantic import Field, SecretStr, field_validator
from pydantic_core.core_schema import ValidationInfo

from hdr_responder.errors import ConfigError, NotFoundError
from hdr_responder.settings.kinds import (
    HeaderSecrets,
    HomePath,
    HostAndPort,
    HttpUrl,
    PostgresUrl,
    RedisUrl,
    Secret,
    Section,
)


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

    url: HttpUrl
    """Its base address; requests stay below it."""
    token: Secret | None = None
    """Bearer token that is sent to it."""
    headers: Annotated[HeaderSecrets, Field(validate_default=True)] = Field(default_factory=dict)
    """Further headers that tell who asks, for example {"x-api-key": "<key>"}; their values are secrets."""
    ca: HomePath | None = None
    """PEM file of the authorities that its certificate is judged by; absent: the system's."""

    @field_validator("headers")
    @classmethod
    def _one_credential(cls, headers: dict[str, SecretStr], info: ValidationInfo) -> dict[str, SecretStr]:
        url = info.data.get("url")
        inside = url is not None and "@" in url.get_secret_value().partition("://")[2].partition("/")[0]
        if inside + bool(info.data.get("token")) + ("authorization" in headers) > 1:
            raise ValueError("url, token and the header authorization each tell who asks: keep one of them")
        return headers

    @property
    def sent(self) -> dict[str, str]:
        """Every header that is sent, secrets revealed."""
        token = {"authorization": f"Bearer {self.token.get_secret_value()}"} if self.token else {}
        return token | {name: value.get_secret_value() for name, value in self.headers.items()}


class TlsTargetSettings(Section):
    """A server whose certificate is watched."""

    address: HostAndPort
    """Where it is: host:port."""
    server_name: str | None = None
    """Name to ask for, where it is not the host."""
    ca: HomePath | None = None
    """PEM file of the authorities that it is judged by; absent: the system's."""


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
