"""Thousands of recordings: many at once on one engine a worker, resumable, and what was found is kept."""
