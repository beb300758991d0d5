"""The tables of the documentation that are made from the code.

``python -m tests.unit.docs.generated`` writes them; a test fails while a page holds an older one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram

from hdr_responder.actions.contract import AnyAction, Undo
from hdr_responder.actions.registry import registry
from hdr_responder.app.service import LIMITS
from hdr_responder.documents.scope import base_scope
from hdr_responder.domain.ports.store import Job
from hdr_responder.settings import describe_settings
from hdr_responder.telemetry import Metrics
from tests.unit.docs.action_pages import action_reference, check_reference
from tests.unit.docs.markdown import FILES

BLOCK = re.compile(
    r"(?<=<!-- generated: )(?P<name>\w+)( -->\n)(?P<body>.*?)(?=^<!-- end -->$)", re.MULTILINE | re.DOTALL
)

JOBS: Mapping[Job, str] = {
    Job.INTAKE: "deliveries become alerts and incidents",
    Job.PLAN: "plans are written for an incident, or runs that are not needed any more end",
    Job.START: "the guards of a waiting run are asked again",
    Job.RUN: "the steps of a started run are done",
    Job.VERIFY: "one look whether a run helped",
    Job.UNDO: "due changes are taken back",
    Job.DEADLINE: "late pages, unanswered incidents",
    Job.NOTIFY_SLACK: "the outbox of Slack",
    Job.NOTIFY_PAGERDUTY: "the outbox of PagerDuty",
    Job.NOTIFY_CONSOLE: "the outbox of the console",
}


def settings() -> str:
    """Every setting with its default."""
    listed = []
    for each in describe_settings():
        default = f"`{each.default}`" if each.default else ""
        file = " (or `..._FILE`)" if each.secret else ""
        listed.append((f"`{each.key}`", f"`{each.variable}`{file}", default, each.description))
    return _table(("key", "variable", "default", "meaning"), listed)


def metrics() -> str:
    """Every metric of our own with its labels."""
    listed = []
    for metric in vars(Metrics()).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            described = next(iter(metric.describe()))
            suffix = "_total" if isinstance(metric, Counter) else ""
            labels = ",".join(metric._labelnames)
            shown = f"`{described.name}{suffix}{f'{{{labels}}}' if labels else ''}`"
            listed.append((shown, described.type, described.documentation))
    return _table(("metric", "type", "meaning"), listed)


def scope() -> str:
    """What expressions can read."""
    listed = [
        (f"`{name}`", re.sub(r"(\w+)_wrapper", r"\1 or null", str(kind))) for name, kind in base_scope().names.items()
    ]
    listed += [
        ("`params.<name>`", "as declared; a workload has `.cluster`, `.namespace`, `.kind`, `.name`"),
        ("`steps.<id>.ok`, `.failed`, `.skipped`", "bool"),
        ("`steps.<id>.<field>`", "a field of the action's result, of an earlier step"),
    ]
    return _table(("name", "type"), listed)


def actions() -> str:
    """The actions."""
    listed = [(_linked(a.name), a.summary, _changes(a), _parameters(a)) for a in registry().actions.values()]
    return _table(("action", "does", "changes something", "parameters"), listed)


def checks() -> str:
    """The checks."""
    listed = []
    for check in registry().checks.values():
        short = f"`{check.name}: <{check.parameters.shorthand}>`" if check.parameters.shorthand else ""
        listed.append((_linked(check.name), check.summary, short))
    return _table(("check", "holds when", "short form"), listed)


def jobs() -> str:
    """The jobs with their limits."""
    return _table(("job", "does", "at a time"), [(f"`{job}`", JOBS[job], str(LIMITS[job])) for job in Job])


TABLES: Mapping[str, Callable[[], str]] = {
    "settings": settings,
    "metrics": metrics,
    "scope": scope,
    "actions": actions,
    "checks": checks,
    "action_reference": action_reference,
    "check_reference": check_reference,
    "jobs": jobs,
}


def regenerated(text: str) -> str:
    """A page with its tables as they are now."""
    return BLOCK.sub(lambda match: f"{match['name']} -->\n{TABLES[match['name']]()}", text)


def write(files: Iterable[Path] = FILES) -> None:
    """Bring the pages up to date."""
    for file in files:
        text = file.read_text(encoding="utf-8")
        made = regenerated(text)
        if made != text:
            file.write_text(made, encoding="utf-8")
            print(f"wrote {file}")


def _linked(name: str) -> str:
    return f"[`{name}`](actions.md#{name.replace('.', '').lower()})"


def _changes(action: AnyAction) -> str:
    if not action.mutates:
        return "no"
    undoable = getattr(action, "undoable", Undo.NONE)
    return "yes; can be restored" if undoable is Undo.RESTORES else "yes; cannot be taken back"


def _parameters(action: AnyAction) -> str:
    fields = action.parameters.model_fields.items()
    return ", ".join(f"`{name}`" if field.is_required() else f"`{name}?`" for name, field in fields)


def _table(header: tuple[str, ...], listed: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *listed]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    write()
