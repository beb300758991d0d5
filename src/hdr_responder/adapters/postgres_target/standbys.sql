-- Who receives the write-ahead log from this server, and how far behind they replay it.
select
    coalesce(application_name, '') as application_name, coalesce(state, '') as state,
    coalesce(sync_state, '') as sync_state,
    pg_wal_lsn_diff(
        case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end, replay_lsn
    )::int8 as lag_bytes,
    extract(epoch from replay_lag)::float8 as lag_seconds
from pg_stat_replication
order by 1, pid
limit 50
