"""A page on this computer that judges images for people who do not code."""
