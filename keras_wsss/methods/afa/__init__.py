"""AFA: affinity from attention."""
