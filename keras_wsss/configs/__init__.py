"""Shipped configurations, one YAML file each; ``*_base`` files are only extended."""
