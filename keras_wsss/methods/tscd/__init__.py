"""TSCD: self correspondence distillation."""
