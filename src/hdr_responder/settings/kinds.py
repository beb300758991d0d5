"""The kinds of values that settings are made of, with what is refused of each.

Anything that may carry a credential is a `SecretStr`, addresses included, so that no representation, error or log can
show it.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from annotated_types import Gt
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr

from hdr_responder.domain.durations import Duration

_SOURCE_NAME = re.compile(r"[a-z0-9-]{1,64}")
_OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})


class Section(BaseModel):
    """A frozen part of the settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)


def is_source_name(text: str) -> bool:
    """Tell whether a text may name a source of deliveries."""
    return _SOURCE_NAME.fullmatch(text) is not None


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


def _host_and_port(text: str) -> str:
    host, separator, port = text.rpartition(":")
    if not separator or not host or "/" in host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("must be of the form host:port")
    return text


def _one_line(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text.strip() or not text.isprintable() or not text.isascii():
        raise ValueError("must not be empty and must be one line of ASCII")
    return secret


def _header_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,100}", name) or name.lower() in _OWN_HEADERS:
        raise ValueError("must be the name of a header that tells who asks")
    return name.lower()


Secret = Annotated[SecretStr, AfterValidator(_one_word)]
HeaderSecrets = dict[Annotated[str, AfterValidator(_header_name)], Annotated[SecretStr, AfterValidator(_one_line)]]
BasicCredential = Annotated[SecretStr, AfterValidator(_basic)]
PostgresUrl = Annotated[SecretStr, _address("postgresql", "postgres")]
HttpUrl = Annotated[SecretStr, _address("http", "https")]
RedisUrl = Annotated[SecretStr, _address("redis", "rediss", "unix")]
HttpUrls = Annotated[tuple[HttpUrl, ...], BeforeValidator(_one_or_several)]
PublicUrl = Annotated[str, AfterValidator(_public_address)]
HomePath = Annotated[Path, AfterValidator(Path.expanduser)]
Period = Annotated[Duration, Gt(timedelta(0))]
SourceName = Annotated[str, AfterValidator(_source_name)]
ObjectStoreUrl = Annotated[str, AfterValidator(_object_store)]
HostAndPort = Annotated[str, AfterValidator(_host_and_port)]
