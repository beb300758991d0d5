"""Gives a delivery that could not be taken to intake once more, after its cause was removed."""

from __future__ import annotations

from hdr_responder.domain.deliveries import Delivery, check_contract
from hdr_responder.domain.ports.records import Records
from hdr_responder.domain.ports.store import Job, Store


class Replay:
    """Replays deliveries by their ids."""

    def __init__(self, *, store: Store, records: Records) -> None:
        self._store = store
        self._records = records

    async def __call__(self, delivery_id: int) -> Delivery:
        """Put a parked or rejected delivery back to what waits, and return it as it is then.

        Raises NotFoundError, ConflictError when it waits already or was processed, and InvalidInputError naming the
        field by which it still breaks the contract: it would only be set aside again.
        """
        check_contract((await self._records.delivery(delivery_id)).body)
        async with self._store.transaction() as tx:
            await tx.deliveries.replay(delivery_id)
            await tx.wake(Job.INTAKE)
        return await self._records.delivery(delivery_id)
