"""Playbooks, service catalogue and triage rules: YAML in, typed and fully checked documents out."""
