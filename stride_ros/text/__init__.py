"""Wording of sentences, text from outside, and the names of topics."""
