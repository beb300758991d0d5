"""Settings: `config/responder.yaml`, overridden by the environment, with secrets in files where wished.

`load_settings` reads them and reports everything that is wrong at once, naming the place of each mistake.
"""

from __future__ import annotations

from hdr_responder.settings.kinds import is_source_name
from hdr_responder.settings.loading import load_settings
from hdr_responder.settings.models import DEFAULT_SOURCE, AlertmanagerSettings, ApiToken, Scope
from hdr_responder.settings.root import Settings
from hdr_responder.settings.structure import SettingDescription, describe_settings

__all__ = [
    "DEFAULT_SOURCE",
    "AlertmanagerSettings",
    "ApiToken",
    "Scope",
    "SettingDescription",
    "Settings",
    "describe_settings",
    "is_source_name",
    "load_settings",
]
