"""Small sets in the formats of published benchmarks, made from the synthetic world: a first try of a run.

They have the files and keys of the benchmarks, and nothing of their data: scenes, questions and answers are
the world's. Figures of these sets say nothing about figures of the benchmarks.
"""
