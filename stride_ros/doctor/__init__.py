"""What this machine would use, and whether given models, cameras and queries fit into its memory."""
