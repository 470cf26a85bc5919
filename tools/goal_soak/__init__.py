"""The parts of tools/soak_goals.py: goals against nodes in other processes, and killed clients."""
