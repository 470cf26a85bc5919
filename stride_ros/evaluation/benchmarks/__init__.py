"""Scores of published benchmarks, from what a run stored: ET-Bench, OVO-Bench and StreamingBench.

Figures are those of the benchmarks' own scorers, digit for digit, where these give one. Where they stop
with an error, what stopped them is named and left out, and the rest is scored.
"""
