-- What the shipped playbooks need on a database that they help (PostgreSQL 14 or newer). Run as a superuser with psql on
-- each server named under targets.postgres; set the password afterwards (\password hdr_responder_target).
-- It can log in, see what other sessions do and signal those that are no superuser's: no table can be read with it.
create role hdr_responder_target login connection limit 5;
grant pg_read_all_stats, pg_signal_backend to hdr_responder_target;
