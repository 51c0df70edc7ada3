"""Scenarios: files that say what a workflow has to do, run for real on a throw-away account."""
