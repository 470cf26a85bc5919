"""What to say about an event: requests, answers in time, and one backend per file."""
