"""The upper bound, trained with masks."""
