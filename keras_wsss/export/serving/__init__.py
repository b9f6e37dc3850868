"""The local server: what TF Serving's two endpoints answer, from the same SavedModel folders."""
