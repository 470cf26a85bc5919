"""Benchmarks of decisions, answers and the nodes; each module is a command."""
