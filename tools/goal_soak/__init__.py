"""What tools/soak_goals.py does: goals against nodes in other processes, and nodes that are killed."""
