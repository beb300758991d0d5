"""The typed operations that playbooks are made of, one module a system, and the registry that knows them all."""
