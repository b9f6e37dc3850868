"""The local server: what TF Serving's two doors answer, from the same SavedModel folders."""
