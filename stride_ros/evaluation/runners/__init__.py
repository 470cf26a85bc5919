"""Runs of published benchmarks: ET-Bench, OVO-Bench and StreamingBench, item by item, and their result page.

The wording of the benchmarks' prompts is other people's: it is read from a checkout that the user has, and
ours is used, and said to be, where there is none.
"""
