"""The `Alerts` port on PostgreSQL."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from hdr_responder.adapters.store.database import PostgresStore
from hdr_responder.domain.alerts import AlertStatus, Occurrence
from hdr_responder.errors import TemporaryError
from tests.integration.store.samples import MINUTE, NOW, occurrence, stored_incident

pytestmark = pytest.mark.service


async def _saved(store: PostgresStore, *occurrences: Occurrence) -> list[Occurrence]:
    async with store.transaction() as tx:
        incident = await stored_incident(tx, key=uuid.uuid4().hex)
        for each in occurrences:
            each.incident_id = incident.id
        await tx.alerts.save(occurrences)
    return list(occurrences)


async def test_occurrences_come_back_as_they_were_saved(store: PostgresStore) -> None:
    saved = await _saved(
        store,
        occurrence("f1", starts=(NOW, NOW + MINUTE), received_count=7, uncertain=True, labels={"ö": 'quote " {x}'}),
        occurrence("f2", status=AlertStatus.RESOLVED, ends_at=NOW + MINUTE, seen_firing=False),
    )
    async with store.transaction() as tx:
        history = await tx.alerts.history([("am", "f1"), ("am", "f2"), ("am", "f1")], NOW)
    assert sorted(history, key=lambda o: o.fingerprint) == saved
    assert [o.id for o in saved] == [1, 2]
    assert not any(o.changed for o in history)


async def test_history_leaves_out_what_ended_before_and_what_others_sent(store: PostgresStore) -> None:
    await _saved(store, occurrence(status=AlertStatus.RESOLVED, ends_at=NOW), occurrence("f2"))
    async with store.transaction() as tx:
        assert await tx.alerts.history([("am", "f1")], NOW + MINUTE) == []
        assert await tx.alerts.history([("other", "f2")], NOW) == []
        assert len(await tx.alerts.history([("am", "f1")], NOW)) == 1


async def test_an_end_and_a_new_firing_fit_in_one_batch(store: PostgresStore) -> None:
    (first,) = await _saved(store, occurrence())
    first.status, first.ends_at = AlertStatus.RESOLVED, NOW + MINUTE
    again = occurrence(starts=(NOW + 2 * MINUTE,), incident_id=first.incident_id)
    async with store.transaction() as tx:
        await tx.alerts.save([again, first])
        assert await tx.alerts.history([("am", "f1")], NOW) == [first, again]


async def test_two_firing_occurrences_of_one_alert_are_a_race_to_be_tried_again(store: PostgresStore) -> None:
    await _saved(store, occurrence())
    with pytest.raises(TemporaryError, match="alerts_one_firing"):
        await _saved(store, occurrence())


async def test_nul_in_text_is_kept_visible(store: PostgresStore) -> None:
    await _saved(store, occurrence(labels={"a\x00b": "c\x00d", "plain": "\\u0000"}))
    async with store.transaction() as tx:
        (found,) = await tx.alerts.history([("am", "f1")], NOW)
    assert found.labels == {"a\ufffdb": "c\ufffdd", "plain": "\\u0000"}


async def test_totals_count_what_fires_and_the_span(store: PostgresStore) -> None:
    saved = await _saved(
        store,
        occurrence("f1", starts=(NOW - MINUTE,)),
        occurrence("f2", status=AlertStatus.RESOLVED, ends_at=NOW + MINUTE),
    )
    incident_id = saved[0].incident_id
    assert incident_id is not None
    async with store.transaction() as tx:
        totals = await tx.alerts.totals([incident_id, 999])
    assert list(totals) == [incident_id]
    assert (totals[incident_id].total, totals[incident_id].firing) == (2, 1)
    assert totals[incident_id].first_starts_at == NOW - MINUTE
    assert totals[incident_id].last_ends_at == NOW + MINUTE


async def test_an_incident_lists_its_firing_alerts_first(store: PostgresStore) -> None:
    saved = await _saved(
        store,
        occurrence("f1", status=AlertStatus.RESOLVED, ends_at=NOW + MINUTE),
        occurrence("f2"),
        occurrence("f3"),
    )
    incident_id = saved[0].incident_id
    assert incident_id is not None
    async with store.transaction() as tx:
        every = await tx.alerts.of_incident(incident_id, firing_only=False, limit=10)
        firing = await tx.alerts.of_incident(incident_id, firing_only=True, limit=1)
    assert [o.fingerprint for o in every] == ["f2", "f3", "f1"]
    assert [o.fingerprint for o in firing] == ["f2"]


async def test_quiet_alerts_are_asked_about_in_turn(store: PostgresStore) -> None:
    first, second, _ = await _saved(
        store,
        occurrence("f1"),
        occurrence("f2", last_received_at=NOW + MINUTE),
        occurrence("f3", last_received_at=NOW + 9 * MINUTE),
    )
    async with store.transaction() as tx:
        assert await tx.alerts.quiet(NOW + 2 * MINUTE, 1) == [first]
        await tx.alerts.mark_absent([first.id or 0], None)
        assert await tx.alerts.quiet(NOW + 2 * MINUTE, 5) == [second, first]


async def test_absence_is_counted_from_the_first_answer_and_forgotten_when_known_or_heard(store: PostgresStore) -> None:
    (saved,) = await _saved(store, occurrence())
    ids = [saved.id or 0]
    long_before = NOW - 100 * MINUTE
    async with store.transaction() as tx:
        await tx.alerts.mark_absent(ids, NOW + MINUTE)
        await tx.alerts.mark_absent(ids, NOW + 2 * MINUTE)
        assert await tx.alerts.absent(NOW + MINUTE, long_before, 5) == [saved]
        assert await tx.alerts.absent(NOW, long_before, 5) == []
        assert await tx.alerts.absent(NOW, NOW, 5) == [saved]
        await tx.alerts.mark_absent(ids, None)
        assert await tx.alerts.absent(NOW + 9 * MINUTE, long_before, 5) == []
        await tx.alerts.mark_absent(ids, NOW + MINUTE)
        await tx.alerts.save([replace(saved, last_received_at=NOW + MINUTE)])
        assert await tx.alerts.absent(NOW + 9 * MINUTE, long_before, 5) == []
