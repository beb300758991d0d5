"""The schema's history, applied by alembic as plain SQL."""
