"""BMP: branches mutual promotion."""
