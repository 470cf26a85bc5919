"""Files that users write or pass on: labels, ground truth, annotations, runs and parameters.

Whatever such a file contains, reading it gives values or one sentence that names the file and the line
(SourceError for a file that cannot be read, ConfigError for its content), within limited time and memory.
"""
