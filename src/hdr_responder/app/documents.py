"""Loads the documents that the settings name, and checks what settings say about actions."""

from __future__ import annotations

from hdr_responder.actions.registry import registry
from hdr_responder.documents.boundaries import TargetNames
from hdr_responder.documents.catalogue import Documents, load
from hdr_responder.errors import ConfigError
from hdr_responder.settings import Settings


def load_documents(settings: Settings) -> Documents:
    """Return the checked documents; raises ConfigError listing every problem at its file, line and column."""
    problems = unknown_effects(settings)
    if problems:
        raise ConfigError("\n".join(problems))
    return load(settings.config.dir, settings.playbooks.dir, registry(), target_names(settings))


def target_names(settings: Settings) -> TargetNames:
    """Return the databases and Redis servers that the settings name."""
    return TargetNames(databases=frozenset(settings.targets.postgres), caches=frozenset(settings.targets.redis))


def unknown_effects(settings: Settings) -> list[str]:
    """Return what is wrong with the budgets by kind of effect: a kind that no action has would limit nothing."""
    known = registry().effect_groups
    return [
        f"automation.budgets.effects.{name}: no action has this kind of effect (known: {', '.join(sorted(known))})"
        for name in settings.automation.budgets.effects
        if name not in known
    ]
