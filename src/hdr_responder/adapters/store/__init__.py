"""PostgreSQL, the truth: every record, lock and due time."""
