"""The commands: arguments and one call into the library each."""
