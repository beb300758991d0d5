"""Whom to trust: authorities of one's own, for services inside that the system's authorities do not know."""

from __future__ import annotations

import ssl
from pathlib import Path

from hdr_responder.errors import ConfigError


def trusting(what: str, ca: Path) -> ssl.SSLContext:
    """Return a client's context that trusts the authorities of a PEM file alone.

    Raises ConfigError, naming the setting ``what``, when the file cannot be read or holds no certificate.
    """
    try:
        return ssl.create_default_context(cafile=ca)
    except ssl.SSLError as e:
        raise ConfigError(f"{what}: {ca} holds no certificates") from e
    except OSError as e:
        raise ConfigError(f"{what}: {ca} cannot be read: {e.strerror}") from e
