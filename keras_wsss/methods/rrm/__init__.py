"""RRM: reliable regions."""
