-- How far this standby is behind. One that is not connected may be even with what it received and still be behind.
with own as (
    select
        exists (select from pg_stat_wal_receiver where status = 'streaming') as receiving,
        pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::int8 as lag_bytes
)
select
    receiving, lag_bytes,
    case when receiving and lag_bytes = 0 then 0
        else extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())
    end::float8 as lag_seconds
from own
