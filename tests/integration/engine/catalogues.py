"""The shipped configuration with health probes of the test's choice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

CONFIG = Path(__file__).parents[3] / "config"


def listing(folder: Path, namespace: str) -> Path:
    """A copy of the shipped documents below ``folder`` with one more service, in a namespace that no other names."""
    config = folder / "config-listing"
    shutil.copytree(CONFIG, config, dirs_exist_ok=True)
    catalogue = YAML(typ="safe").load((CONFIG / "services.yaml").read_text("utf-8"))
    one_more = {"name": "one-more", "title": "One more", "tier": "data", "owner": "sre", "namespace": namespace}
    catalogue["services"].append(one_more)
    (config / "services.yaml").write_text(json.dumps(catalogue), "utf-8")
    return config


def with_health(folder: Path, health: dict[str, Any]) -> Path:
    """A copy of the shipped documents below ``folder`` in which these services, and no others, have a probe."""
    config = folder / "config"
    if not config.exists():
        shutil.copytree(CONFIG, config)
    catalogue = YAML(typ="safe").load((CONFIG / "services.yaml").read_text("utf-8"))
    for service in catalogue["services"]:
        service.pop("health", None)
        if service["name"] in health:
            service["health"] = health[service["name"]]
    (config / "services.yaml").write_text(json.dumps(catalogue), "utf-8")
    return config
