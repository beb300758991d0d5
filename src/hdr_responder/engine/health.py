"""Asks the declared probes whether the services that a service stands on can be used now.

Hundreds of runs may ask about the same database at once, in the very minute in which it is down; so an answer is shared
for some seconds, and while one asks the others wait for its answer.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from hdr_responder.actions.contract import Evidence, Fence, Registry, StepContext, Verdict
from hdr_responder.documents.health import Probe, compile_probes
from hdr_responder.documents.services import ServiceCatalogue
from hdr_responder.domain.clock import Clock
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.domain.survey import DependencyHealth
from hdr_responder.errors import HdrError, PermanentError

log = structlog.get_logger(__name__)

PROBE_TIMEOUT_SECONDS = 10.0
PROBES_AT_ONCE = 8
SHARED_FOR = timedelta(seconds=5)
"""How old an answer may be."""

_NOBODY = Fence(run_id=uuid.UUID(int=0), token=0)


class _NoEvidence(Evidence):
    """A probe looks and keeps nothing."""

    async def keep(self, name: str, media_type: str, content: bytes) -> str:
        """Refuse."""
        del name, media_type, content
        raise PermanentError("a health probe keeps no artifacts")


@dataclass(frozen=True, slots=True)
class _Answer:
    health: DependencyHealth
    at: datetime


class HealthDesk:
    """Knows the probes of the catalogue and their latest answers."""

    def __init__(self, *, services: ServiceCatalogue, registry: Registry, systems: Systems, clock: Clock) -> None:
        self._services = services
        self._probes: Mapping[str, Probe] = compile_probes(services, registry)[0]
        self._systems = systems
        self._clock = clock
        self._answers: dict[tuple[str, str | None], _Answer] = {}
        self._asking: defaultdict[tuple[str, str | None], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._at_once = asyncio.Semaphore(PROBES_AT_ONCE)

    async def below(self, service: str, cluster: str | None) -> tuple[DependencyHealth, ...]:
        """Return the health of everything with a probe that a service stands on, the nearest first."""
        known = cluster if cluster in self._systems.kubernetes else None
        probes = [self._probes[s.name] for s in self._services.below(service) if s.name in self._probes]
        return tuple(await asyncio.gather(*(self._ask(probe, known) for probe in probes)))

    async def _ask(self, probe: Probe, cluster: str | None) -> DependencyHealth:
        key = (probe.service.name, cluster)
        async with self._asking[key]:
            last = self._answers.get(key)
            if last is not None and timedelta(0) <= self._clock.now() - last.at < SHARED_FOR:
                return last.health
            async with self._at_once:
                seen = await self._look(probe, cluster)
            health = DependencyHealth(service=probe.service.name, healthy=seen.holds, detail=seen.detail)
            self._answers[key] = _Answer(health, self._clock.now())
            return health

    async def _look(self, probe: Probe, cluster: str | None) -> Verdict:
        """Look once; whatever goes wrong with looking is no answer, and never proof that the service is down."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                return await probe.check.evaluate(self._context(cluster), probe.parameters(cluster))
        except TimeoutError:
            return Verdict(holds=None, detail=f"no answer within {PROBE_TIMEOUT_SECONDS:g} s")
        except HdrError as error:
            return Verdict(holds=None, detail=str(error))
        except Exception as error:
            log.exception("health_probe_crashed", service=probe.service.name)
            return Verdict(holds=None, detail=f"cannot be asked: unexpected {type(error).__name__}")

    def _context(self, cluster: str | None) -> StepContext:
        return StepContext(
            fence=_NOBODY,
            step_id="health",
            incident_ref="",
            cluster=cluster,
            systems=self._systems,
            evidence=_NoEvidence(),
            clock=self._clock,
        )
