"""The HTTP side of the responder: webhooks in, the API for people and programs, probes for the platform."""
