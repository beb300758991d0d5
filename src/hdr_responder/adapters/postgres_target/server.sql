select
    current_setting('server_version') as version,
    current_setting('server_version_num')::int as version_number,
    not pg_is_in_recovery() as primary,
    pg_postmaster_start_time() as started_at
