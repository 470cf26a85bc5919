"""Convert image messages and picture files to RGB arrays, within limits. Does not need ROS."""
