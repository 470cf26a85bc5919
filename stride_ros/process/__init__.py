"""The setup of a process: CPU threads, imports, memory, files of the package."""
