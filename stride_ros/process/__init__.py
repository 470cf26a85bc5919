"""What a process sets up before it works: CPU threads, imports, memory, files of the package."""
