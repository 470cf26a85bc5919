"""Words in sentences, text from outside, and the names of topics."""
