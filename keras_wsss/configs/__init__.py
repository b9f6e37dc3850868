"""Shipped configurations: one YAML file a method, one a data set, and pairs that have a claim."""
