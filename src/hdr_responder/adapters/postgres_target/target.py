"""One target database behind the domain's port: statements out, facts in, nothing decided here."""

from __future__ import annotations

from hdr_responder.adapters.postgres_target.access import Access
from hdr_responder.adapters.postgres_target.calls import Endpoint
from hdr_responder.adapters.postgres_target.configuration import Configuration
from hdr_responder.adapters.postgres_target.maintenance import Maintenance
from hdr_responder.adapters.postgres_target.sessions import Sessions
from hdr_responder.adapters.postgres_target.statistics import Statistics

DEFAULT_CONNECTIONS = 3
DEFAULT_SCHEMAS = ("public",)


class PostgresTarget(Access, Sessions, Statistics, Maintenance, Configuration):
    """One target database by its name in settings; see `PostgresServer` for what each method promises.

    ``dsn``, ``timeout``, ``connections`` and ``schemas`` are those of `Endpoint`. Constructing connects to nothing.
    """

    def __init__(
        self,
        name: str,
        dsn: str,
        timeout: float = 5.0,
        *,
        connections: int = DEFAULT_CONNECTIONS,
        schemas: tuple[str, ...] = DEFAULT_SCHEMAS,
    ) -> None:
        super().__init__(Endpoint(target=name, dsn=dsn, timeout=timeout, connections=connections, schemas=schemas))
