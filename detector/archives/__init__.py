"""Bring an archive of images and check it."""
