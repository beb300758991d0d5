-- The role that playbooks act with on a database that they help (PostgreSQL 14 or newer), with exactly the rights that
-- they need. Run with psql as a superuser in each database named under targets.postgres, then set the password
-- (\password hdr_responder_target). It may be run again. `hdr-responder doctor` tells what is missing or too much.
--
-- Without options: what the shipped playbooks need. It can log in, see what other sessions do and signal those that are
-- no superuser's: no table can be read with it. Each further capability is asked for:
--
--   psql -d hdr_empire -v maintenance=on -v parameters='work_mem, checkpoint_timeout' -f role.sql
--
--   -v maintenance=on    postgres.analyze, vacuum and reindex on the tables of the schema (-v schema=..., else public).
--                        Tables that are made later need it run again. Before PostgreSQL 17 only a table's owner may do
--                        this: then also -v owner=..., the role that owns them, which is far more.
--   -v owner=...         postgres.create_index, on any version: only who owns a table may index it.
--   -v parameters=...    postgres.set_config for these parameters, from PostgreSQL 15 on.
--   -v measure=on        postgres.bloat with `method: pgstattuple`.
--   -v reserved=on       a connection also when all others are taken: PostgreSQL 16 with reserved_connections set.
\set ON_ERROR_STOP on
\if :{?role}
\else
\set role hdr_responder_target
\endif
\if :{?schema}
\else
\set schema public
\endif
select current_setting('server_version_num')::int >= 150000 as has_parameter_rights,
    current_setting('server_version_num')::int >= 160000 as has_reserved,
    current_setting('server_version_num')::int >= 170000 as has_maintain,
    not exists (select from pg_roles where rolname = :'role') as is_new
\gset

\if :is_new
create role :"role" login connection limit 10;
\endif
grant pg_read_all_stats, pg_signal_backend to :"role";

\if :{?maintenance}
grant usage on schema :"schema" to :"role";
\if :has_maintain
grant maintain on all tables in schema :"schema" to :"role";
\elif :{?owner}
\else
\warn 'Before PostgreSQL 17 maintenance needs -v owner=..., the role that owns the tables.'
do $$ begin raise exception 'no owner is given'; end $$;
\endif
\endif

\if :{?owner}
grant usage, create on schema :"schema" to :"role";
grant :"owner" to :"role";
\endif

\if :{?parameters}
\if :has_parameter_rights
grant alter system on parameter :parameters to :"role";
grant execute on function pg_catalog.pg_reload_conf() to :"role";
grant execute on function pg_catalog.pg_show_all_file_settings() to :"role";
grant select on pg_catalog.pg_file_settings to :"role";
\else
\warn 'Before PostgreSQL 15 only a superuser may change parameters.'
do $$ begin raise exception 'no right to change parameters exists'; end $$;
\endif
\endif

\if :{?measure}
grant pg_stat_scan_tables to :"role";
\endif

\if :{?reserved}
\if :has_reserved
grant pg_use_reserved_connections to :"role";
\endif
\endif
