"""Other sets of images."""
