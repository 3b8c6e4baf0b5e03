"""One file that holds a trained network."""
