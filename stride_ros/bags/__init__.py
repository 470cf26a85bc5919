"""Recordings without ROS: the storage files of rosbag2 and ROS 1, read as they are on disk.

Each kind of file is a `Storage`; `files.open_recording` finds the files of a recording and opens them. The
content of the files decides; metadata.yaml, indexes and summaries are only hints.
"""
