"""Who may deliver and who may use the API.

Webhooks carry no signature, so bearer tokens and basic credentials are all there is (Alertmanager contract rule 13).
Digests of fixed length are compared, every candidate each time, so that neither length nor position of a match shows in
the time an answer takes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web

from hdr_responder.adapters.http.problems import ProblemError
from hdr_responder.settings import AlertmanagerSettings, ApiToken, Scope

T = TypeVar("T")
_RANKS = {Scope.READ: 0, Scope.OPERATE: 1, Scope.ADMIN: 2}
_WEBHOOK_CHALLENGE = 'Bearer realm="hdr-responder", Basic realm="hdr-responder", charset="UTF-8"'
_API_CHALLENGE = 'Bearer realm="hdr-responder"'
_NO_CREDENTIALS = "missing or unknown credentials"
_BEARER, _BASIC = "bearer", "basic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The person or system behind an API token."""

    name: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Tell whether one of the scopes is this one or includes it."""
        return any(_RANKS[held] >= _RANKS[scope] for held in self.scopes)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a delivery's credential stands for: one source, or any (None)."""

    source: str | None


class WebhookCredentials:
    """The credentials of deliveries."""

    def __init__(self, settings: AlertmanagerSettings) -> None:
        self._own = frozenset(name for name, s in settings.sources.items() if s.tokens or s.basic)
        candidates = [(_BEARER, t.get_secret_value(), None) for t in settings.tokens]
        candidates += [(_BASIC, b.get_secret_value(), None) for b in settings.basic]
        named: list[tuple[str, str, str | None]] = [
            (kind, secret.get_secret_value(), name)
            for name, source in settings.sources.items()
            for kind, secrets in ((_BEARER, source.tokens), (_BASIC, source.basic))
            for secret in secrets
        ]
        self._candidates = [(_digest(kind, text), Grant(source)) for kind, text, source in (*candidates, *named)]

    def grant(self, header: str | None) -> Grant:
        """Return what an ``Authorization`` header stands for; raises a 401 when it is nothing known."""
        presented = _presented(header)
        found = _match(presented, self._candidates) if presented else None
        if found is None:
            raise ProblemError(401, _NO_CREDENTIALS, headers={"WWW-Authenticate": _WEBHOOK_CHALLENGE})
        return found

    def source(self, grant: Grant, named: str | None, default: str) -> str:
        """Return the source of a delivery that names ``named`` in its path (None: no source).

        Raises a 403 where the credential belongs to another source or the source takes only its own.
        """
        if grant.source is not None and named not in (None, grant.source):
            raise ProblemError(403, "this credential belongs to another source", field="source")
        if grant.source is None and named in self._own:
            raise ProblemError(403, f"source {named} takes only its own credentials", field="source")
        return grant.source or named or default


class ApiTokens:
    """The tokens of the API."""

    def __init__(self, tokens: Sequence[ApiToken]) -> None:
        self._candidates = [
            (_digest(_BEARER, t.token.get_secret_value()), Principal(name=t.name, scopes=t.scopes)) for t in tokens
        ]

    def require(self, request: web.Request, scope: Scope) -> Principal:
        """Return who asks; raises a 401 for an unknown token and a 403 for one without the scope."""
        presented = _presented(request.headers.get("Authorization"))
        found = _match(presented, self._candidates) if presented else None
        if found is None:
            raise ProblemError(401, _NO_CREDENTIALS, headers={"WWW-Authenticate": _API_CHALLENGE})
        if not found.may(scope):
            raise ProblemError(403, f"this needs the scope {scope}")
        return found


def _match(presented: bytes, candidates: Iterable[tuple[bytes, T]]) -> T | None:
    found = None
    for digest, owner in candidates:
        if hmac.compare_digest(digest, presented):
            found = owner
    return found


def _presented(header: str | None) -> bytes | None:
    """Return the digest of the credential in an ``Authorization`` header, None when it holds none."""
    if not header:
        return None
    scheme, _, text = header.partition(" ")
    kind, text = scheme.lower(), text.strip()
    if kind == _BEARER:
        return _digest(kind, text)
    if kind != _BASIC:
        return None
    try:
        return _digest(kind, base64.b64decode(text, validate=True).decode())
    except (binascii.Error, ValueError):
        return None


def _digest(kind: str, text: str) -> bytes:
    return hashlib.sha256(f"{kind} {text}".encode("utf-8", "surrogateescape")).digest()
