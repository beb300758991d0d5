"""Target databases: the servers that playbooks look at and whose sessions they end, never our own store."""

from hdr_responder.adapters.postgres_target.target import PostgresTarget

__all__ = ["PostgresTarget"]
