"""Whose sessions are never signalled unless a playbook says otherwise; the target's own rules come on top."""

from __future__ import annotations

PROTECTED_APPLICATIONS = (
    "pg_dump",
    "pg_dumpall",
    "pg_restore",
    "pg_basebackup",
    "pg_receivewal",
    "pg_rewind",
    "pgbackrest*",
    "barman*",
    "wal-g*",
    "patroni*",
    "repmgr*",
    "stolon*",
)
"""Backup and high availability tools, which a superuser need not run."""

PROTECTED_ROLES = ("postgres", "replicator", "patroni", "repmgr", "barman", "rdsadmin", "cloudsqladmin", "azuresu")
