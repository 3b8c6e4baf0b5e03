"""Build a network."""
