"""Commands beside the pipeline: they read what it left, and no stage depends on them."""
