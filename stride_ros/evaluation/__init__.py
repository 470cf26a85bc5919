"""Evaluate how well a model decides on held-out clips, compared with simpler ways to decide."""
