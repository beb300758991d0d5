-- Slots, and how much of the write-ahead log the server keeps for each.
select
    slot_name as name, active,
    pg_wal_lsn_diff(
        case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end, restart_lsn
    )::int8 as retained_bytes,
    coalesce(wal_status, '') as wal_status
from pg_replication_slots
order by slot_name
limit 50
