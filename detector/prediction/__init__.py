"""Ask a trained network about images."""
