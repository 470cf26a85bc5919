"""Score stored runs of published benchmarks: ET-Bench, OVO-Bench and StreamingBench.

Figures equal those of the benchmarks' own scorers, digit for digit, where these give one. Where they stop
with an error, its cause is named and left out, and the rest is scored.
"""
