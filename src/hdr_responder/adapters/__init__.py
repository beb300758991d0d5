"""Everything that talks to the outside; the only place that imports a driver or a client."""
