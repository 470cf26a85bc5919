"""Report what this machine would use, and whether models, cameras and queries fit into its memory."""
