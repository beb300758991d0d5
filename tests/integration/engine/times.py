"""Calendars of the test's own, beside the shipped documents."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

CONFIG = Path(__file__).parents[3] / "config"


def with_calendar(folder: Path, parts: dict[str, Any], config: Path | None = None) -> Path:
    """Copy the documents of ``config`` (the shipped ones) and give them a calendar with these parts."""
    made = folder / "config-with-calendar"
    shutil.copytree(config or CONFIG, made, dirs_exist_ok=True)
    document = {"apiVersion": "hdr-responder/v1", "kind": "Calendar"} | parts
    (made / "calendar.yaml").write_text(json.dumps(document))
    return made
