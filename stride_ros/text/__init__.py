"""Words in sentences, and text from outside."""
