"""Make small sets in the formats of published benchmarks from the synthetic world, to try out a run.

They have the files and keys of the benchmarks, but none of their data: scenes, questions and answers are
those of the world. Figures on these sets say nothing about figures on the benchmarks.
"""
