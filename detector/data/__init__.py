"""From an archive to audited arrays of images."""
