"""Corrupted test images."""
