"""The composition root: the only place that knows every part, builds them and starts and stops them in order."""
