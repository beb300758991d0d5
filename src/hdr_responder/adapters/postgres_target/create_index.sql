-- The command that builds the index $2 of the schema $1 on its table $3, by $4 columns and $5 whether each descends.
select format(
    'CREATE INDEX CONCURRENTLY IF NOT EXISTS %I ON %I.%I USING btree (%s)', $2::text, $1::text, $3::text,
    (
        select string_agg(format('%I', name) || case when descending then ' DESC' else '' end, ', ' order by place)
        from unnest($4::text[], $5::bool[]) with ordinality as key (name, descending, place)
    )
) as command
