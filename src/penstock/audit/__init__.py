"""The audit: an independent judge of what the other rooms have written (DESIGN section 4)."""
