"""Rules that workflows are made of, and what brings contexts together around a pass."""
