"""The settings as a whole, and what must be set before the service may start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from hdr_responder.documents.strict import Environment
from hdr_responder.errors import ConfigError
from hdr_responder.settings.automation import AutomationSettings
from hdr_responder.settings.models import (
    AlertmanagerSettings,
    ArtifactSettings,
    ConfigSettings,
    DatabaseSettings,
    HttpSettings,
    KubernetesSettings,
    LogSettings,
    PagerdutySettings,
    PlaybookSettings,
    PrometheusSettings,
    RedisSettings,
    RetentionSettings,
    SlackSettings,
)
from hdr_responder.settings.targets import TargetSettings

if TYPE_CHECKING:
    from hdr_responder.domain.runs import Mode

_NO_CREDENTIALS = (
    "HDR_ALERTMANAGER__TOKENS: no tokens and no basic credentials are configured, so nobody could deliver alerts; "
    'set it to a JSON list, for example ["<token>"]'
)
_NO_DATABASE = (
    "HDR_DATABASE__URL: required with HDR_ENVIRONMENT=production; the embedded database is for development only"
)


class Settings(BaseSettings):
    """Everything that can be set. Made by `load_settings`, which knows where each value was written."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    environment: Environment = "development"
    """development, staging or production: how much automation may do differs, and production needs a database."""
    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    redis: RedisSettings = Field(default_factory=RedisSettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
    alertmanager: AlertmanagerSettings = Field(default_factory=AlertmanagerSettings)
    prometheus: PrometheusSettings = Field(default_factory=PrometheusSettings)
    slack: SlackSettings = Field(default_factory=SlackSettings)
    pagerduty: PagerdutySettings = Field(default_factory=PagerdutySettings)
    kubernetes: KubernetesSettings = Field(default_factory=KubernetesSettings)
    artifacts: ArtifactSettings = Field(default_factory=ArtifactSettings)
    playbooks: PlaybookSettings = Field(default_factory=PlaybookSettings)
    config: ConfigSettings = Field(default_factory=ConfigSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    targets: TargetSettings = Field(default_factory=TargetSettings)
    automation: AutomationSettings = Field(default_factory=AutomationSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from the caller alone: the stock sources stop at the first mistake and ignore mistyped names."""
        return (init_settings,)

    @property
    def mode_cap(self) -> Mode:
        """The most that automation may do in this environment."""
        caps: dict[str, Mode] = dict(self.automation.modes)
        return caps[self.environment]

    @property
    def artifacts_url(self) -> str:
        """Address of the object store."""
        return self.artifacts.url or (self.database.data_dir.absolute() / "artifacts").as_uri()

    def require_database(self) -> None:
        """Raise ConfigError where the embedded database may not be used and no other is configured."""
        self._refuse(self._missing_database())

    def require_serving(self) -> None:
        """Raise ConfigError, naming everything that is missing, unless the service may start with these settings."""
        credentials = [] if self.alertmanager.accepts_deliveries else [_NO_CREDENTIALS]
        self._refuse([*credentials, *self._missing_database()])

    def secrets(self) -> frozenset[str]:
        """Return every secret value, for the logs to redact; of addresses the part that is secret."""
        return frozenset(part for text in _secrets(self) for part in _secret_parts(text))

    def _missing_database(self) -> list[str]:
        needed = self.environment == "production" and self.database.url is None
        return [_NO_DATABASE] if needed else []

    def _refuse(self, problems: list[str]) -> None:
        if problems:
            raise ConfigError("\n".join(problems))


def _secret_parts(text: str) -> Iterator[str]:
    """Yield the text, its password where it is a user with one, and of an address only its password, if any."""
    if "://" not in text:
        yield text
        _, _, password = text.partition(":")
    else:
        user, at, _ = text.partition("://")[2].partition("/")[0].rpartition("@")
        password = user.partition(":")[2] if at else ""
    if password:
        yield from {password, unquote(password)}


def _secrets(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for _, item in value:
            yield from _secrets(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _secrets(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from _secrets(item)
