"""Loads the documents that the settings name."""

from __future__ import annotations

from hdr_responder.actions.registry import registry
from hdr_responder.documents.catalogue import Documents, load
from hdr_responder.settings import Settings


def load_documents(settings: Settings) -> Documents:
    """Return the checked documents; raises ConfigError listing every problem at its file, line and column."""
    return load(settings.config.dir, settings.playbooks.dir, registry())
