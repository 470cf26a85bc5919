"""Files that users write or hand on: labels, ground truth, annotations, runs and parameters.

Whatever is in such a file, reading it ends in values or in one sentence that names the file and the line
(SourceError for a file that cannot be read, ConfigError for its content), within bounded time and memory.
"""
