"""The timeline, the post-mortem and reports: what people read afterwards."""
