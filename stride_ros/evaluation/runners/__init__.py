"""Run published benchmarks, ET-Bench, OVO-Bench and StreamingBench, item by item, and write their pages.

The wording of the benchmarks' prompts belongs to their authors: it is read from the user's checkout. Without
one, our own wording is used, and the results say so.
"""
