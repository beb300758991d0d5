"""One revision a pair of files: the SQL, and the module that alembic loads."""
