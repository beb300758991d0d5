"""Texts that a label may hold and that must never mean anything to a system."""

from __future__ import annotations

HOSTILE = [
    "../../x",
    "a/b",
    "x;drop table jobs",
    "'; select pg_sleep(9)--",
    '"jobs"',
    "public.jobs",
    "$(reboot)",
    "`id`",
    "a=b,c!=d",
    "*",
    "{{.}}",
    "${alert.labels}",
    "é",
    "%I",
    "JOBS",
]
