"""The stages that turn a delivery into a verified remediation."""
