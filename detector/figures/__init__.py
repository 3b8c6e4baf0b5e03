"""Figures as PNG; the same input gives the same bytes."""
