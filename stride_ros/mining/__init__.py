"""Mine thousands of recordings: many at once on one engine per worker, resumable, with lasting results."""
