"""Benchmarks: what `penstock bench` runs, and the raw-limit programs they are held against."""
