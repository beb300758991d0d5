"""The benchmarks: what the product promises in figures, measured against real services in one run."""
