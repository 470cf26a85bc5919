"""How well a model decides on held-out clips, beside simpler ways to decide."""
