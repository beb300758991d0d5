"""What playbooks say about time, checked against the calendar: their schedules and the window that they keep to."""

from __future__ import annotations

from collections.abc import Iterator

from hdr_responder.documents.calendar import Calendar, cron_finding, zone_finding
from hdr_responder.documents.findings import Finding, unknown
from hdr_responder.documents.playbook_document import Param, Playbook


def timing_findings(playbook: Playbook, calendar: Calendar | None) -> Iterator[Finding]:
    """Return what is wrong with a playbook's schedule and window; ``calendar`` None when it could not be read."""
    window = playbook.guards.window
    if window is not None and calendar is not None and window not in {w.name for w in calendar.windows}:
        yield unknown(("guards", "window"), "window", window, [w.name for w in calendar.windows])
    schedule = playbook.schedule
    if schedule is None:
        return
    found = (
        cron_finding(("schedule", "cron"), schedule.cron),
        zone_finding(("schedule", "time_zone"), schedule.time_zone),
    )
    yield from (f for f in found if f)
    for name, param in playbook.params.items():
        if isinstance(param, Param) and param.default is None:
            message = f"param {name!r} needs a default: the clock, which starts this playbook too, gives none"
            yield Finding(loc=("params", name), message=message, at_key=True)
