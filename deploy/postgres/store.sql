-- hdr-responder's own database. Run as a superuser with psql; set the password afterwards (\password hdr_responder).
-- The service brings the schema itself. It listens for notifications, so it needs a session of its own: connect it to
-- PostgreSQL directly or through a pooler in session mode.
create role hdr_responder login;
create database hdr_responder owner hdr_responder;
