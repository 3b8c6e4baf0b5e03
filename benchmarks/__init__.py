"""What the repository costs: `python -m benchmarks`, see README.md beside this file."""
