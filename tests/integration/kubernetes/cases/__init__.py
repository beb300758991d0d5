"""Cases of the proofs common to all Kubernetes actions, one module a family of actions."""
