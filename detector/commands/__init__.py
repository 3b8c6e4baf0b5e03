"""The commands of `python -m detector`."""
