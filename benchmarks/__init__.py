"""Measurements of the whole: `python -m benchmarks`, and `python -m benchmarks.soak`."""
