"""Bulk: files and batches in and out, with checks, progress and a result per record."""
