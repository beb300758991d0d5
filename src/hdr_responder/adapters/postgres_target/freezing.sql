-- How old the oldest row of this database is in transactions, and from which age on the server vacuums on its own.
select
    age(datfrozenxid) as xid_age,
    current_setting('autovacuum_freeze_max_age')::int as freeze_max_age,
    current_setting('autovacuum')::bool as autovacuum
from pg_database
where datname = current_database()
