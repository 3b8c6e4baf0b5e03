"""From an archive to arrays."""
