-- The session of the name $1, what it does and how far it is.
select
    activity.pid, coalesce(activity.state, '') as state,
    coalesce(vacuum.phase, sample.phase, build.phase, '') as phase,
    coalesce(
        vacuum.heap_blks_scanned::float8 / nullif(vacuum.heap_blks_total, 0),
        sample.sample_blks_scanned::float8 / nullif(sample.sample_blks_total, 0),
        build.blocks_done::float8 / nullif(build.blocks_total, 0)
    ) as done
from pg_stat_activity as activity
left join pg_stat_progress_vacuum as vacuum on vacuum.pid = activity.pid
left join pg_stat_progress_analyze as sample on sample.pid = activity.pid
left join pg_stat_progress_create_index as build on build.pid = activity.pid
where activity.application_name = $1 and activity.pid <> pg_backend_pid()
limit 1
