"""SGN: a self-guided network."""
