"""One module a sub-command: arguments, and one call into the library."""
